"""Ball arithmetic against integers, mpmath and results that are known."""

import math
from fractions import Fraction

import numpy as np
import pytest

from mfi_command import BadInput
from stable_ops.fp import get_format
from stable_ops.fp.rounding import round_scalar
from stable_ops.testing.exact import nearest_pair, round_dyadic, settle
from stable_ops.testing.oracles import ORACLES, ours
from stable_ops.testing.rounded import correctly_rounded
from stable_ops.testing.strategies import numpy_dtype

flint = pytest.importorskip("flint")
pytest.importorskip("ml_dtypes")
DTYPES = ("float16", "bfloat16", "float32")


def places(shape):
    return np.argwhere(np.ones(shape, dtype=bool))


@pytest.mark.parametrize("name", ["fp16", "bf16", "fp32"])
def test_whole_numbers_are_rounded_as_float64_is(name):
    """Every float64 is a whole number times a power of two; `round_scalar` does the same by another way."""
    rng = np.random.default_rng(0)
    format = get_format(name)
    x = np.ldexp(rng.standard_normal(3000), rng.integers(-160, 140, 3000))
    edges = [
        format.max,
        format.max * (1 + format.eps / 4),
        format.max * (1 + format.eps / 2),
        format.min_subnormal / 2,
    ]
    for value in [*x, *edges, -edges[2], format.min_subnormal * 1.5]:
        numerator, denominator = float(value).as_integer_ratio()
        exponent = 1 - denominator.bit_length()
        got = round_dyadic(numerator, exponent, format)
        assert got == round_scalar(float(value), format)
        assert math.copysign(1, got) == math.copysign(1, value)


def test_a_tie_that_float64_cannot_see():
    x = np.array([2.0**-24, -(2.0**-24), 3 * 2.0**-24])
    # x/2 + c x^2: half a unit of float16 and a little more, half a unit below zero and a little less.
    assert settle("silu", [x], places(3), "fp16").tolist() == [2.0**-24, 0.0, 2 * 2.0**-24]
    # x (1 - e^-x): 40 * 1.025390625 lies on a tie of float16, the truth 10^-17 below.
    gate, up = np.array([40.0]), np.array([1.0 + 2.0**-10])
    tie = 40.0 * (1 + 2.0**-10)
    assert settle("swiglu", [gate, up], places(1), "fp16")[0] == math.floor(tie * 32) / 32


@pytest.mark.parametrize("op", ORACLES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_balls_agree_with_longer_arithmetic_where_that_decides(op, dtype):
    rng = np.random.default_rng(1)
    shapes = {"x": (3, 40), "up": (3, 40)}
    operands = [
        rng.standard_normal(shapes.get(a, 40)).astype(numpy_dtype(dtype)) for a in ORACLES[op].arguments
    ]
    rounded = correctly_rounded(op, *operands)
    assert rounded.near <= 2
    assert not rounded.open.any()
    balls = settle(op, operands, places(rounded.values.shape), dtype)
    np.testing.assert_array_equal(balls.reshape(rounded.values.shape), rounded.values)
    np.testing.assert_array_equal(np.asarray(ours(op)(*operands)).astype(float), rounded.values)


def test_the_first_rounding_of_the_hf_form_may_be_the_tie():
    """x / rms is exactly between two numbers of float16 but for eps, which moves it down."""
    x = np.full((1, 4), 1.0 + 2.0**-10, np.float16)
    weight = np.ones(4, np.float16)
    rounded = correctly_rounded("rms_norm_hf", x, weight)
    assert not rounded.wrong(np.asarray(ours("rms_norm_hf")(x, weight))).any()


@pytest.mark.parametrize(("op", "function"), [("silu", "silu"), ("gelu", "gelu"), ("gelu_tanh", "gelu_tanh")])
def test_two_parts_hold_a_hundred_bits(op, function):
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(80):
        exact = {
            "silu": lambda v: v / (1 + mpmath.exp(-v)),
            "gelu": lambda v: v * mpmath.erfc(-v / mpmath.sqrt(2)) / 2,
            "gelu_tanh": lambda v: (
                v / (1 + mpmath.exp(-2 * mpmath.sqrt(2 / mpmath.pi) * (v + mpmath.mpf("0.044715") * v**3)))
            ),
        }[function]
        for x in (0.5, -3.25, 7.0, 30.0, -11.5):
            high, low = nearest_pair(op, x)
            assert (
                abs((mpmath.mpf(high) + mpmath.mpf(low)) / exact(mpmath.mpf(x)) - 1) < mpmath.mpf(2) ** -100
            )
    assert nearest_pair(op, 3e38) == (3e38, -(2.0**-600))
    assert nearest_pair(op, -3e38) == (-(2.0**-500), 0.0)


def test_sums_are_exact_where_digits_cancel():
    """A mean of 2^-149 beside numbers of 2^100: the centred middle element decides on one bit."""
    x = np.float32([[2.0**100, -(2.0**100), 2.0**-149]])
    ones, zeros = np.ones(3, np.float32), np.zeros(3, np.float32)
    (middle,) = settle("layer_norm", [x, ones, zeros], np.array([[0, 2]]), "fp32")
    mean = Fraction(2.0**-149) / 3
    root = math.sqrt(float(2 * Fraction(2.0**100) ** 2 / 3))
    assert middle == np.float32(float(Fraction(2.0**-149) - mean) / root)


def test_without_flint_near_elements_stay_open(monkeypatch):
    x = (np.arange(1, 50) * 2.0**-149).astype(np.float32)
    settled = correctly_rounded("silu", x)
    assert settled.near > 20
    assert not settled.open.any()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    left = correctly_rounded("silu", x)
    assert left.open.sum() == settled.near
    assert not left.wrong(np.nextafter(x / 2, np.float32(1)))[left.open].any()


def test_bad_input():
    with pytest.raises(BadInput, match="attention"):
        settle("attention", [np.zeros((1, 1))], np.zeros((1, 2), int), "fp16")
