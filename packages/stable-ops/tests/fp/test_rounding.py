"""Rounding against rational arithmetic, ml_dtypes and numpy."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfi_command import BadInput
from stable_ops.fp import FORMATS, get_format, round_to, ulp

SMALL = [name for name, f in FORMATS.items() if f.bits <= 16]


def nearest(x: float, name: str) -> float:
    """The definition: among all values the one nearest in rational arithmetic, ties to the even code."""
    values = FORMATS[name].values()
    i = int(np.clip(np.searchsorted(values, x), 1, values.size - 1))
    low, high = float(values[i - 1]), float(values[i])
    below, above = Fraction(x) - Fraction(low), Fraction(high) - Fraction(x)
    if below != above:
        return low if below < above else high
    step = Fraction(ulp(min(abs(low), abs(high)), name))
    return low if (abs(Fraction(low)) / step) % 2 == 0 else high


@given(st.sampled_from(SMALL), st.integers(0, 2**32), st.sampled_from(["near", "tie", "past tie", "wide"]))
def test_is_the_nearest_value(name, seed, kind):
    rng = np.random.default_rng(seed)
    values = FORMATS[name].values()
    i = rng.integers(values.size - 1, size=50)
    x = (values[i] + values[i + 1]) / 2
    if kind == "near":
        x = values[i] + (values[i + 1] - values[i]) * rng.random(50)
    elif kind == "past tie":
        x = np.nextafter(x, rng.choice([-np.inf, np.inf], 50))
    elif kind == "wide":
        x = np.clip(np.ldexp(rng.standard_normal(50), rng.integers(-40, 16, 50)), values[0], values[-1])
    expected = [nearest(float(v), name) for v in x]
    np.testing.assert_array_equal(round_to(x, name), expected)
    np.testing.assert_array_equal([round_to(float(v), name) for v in x], expected)


@pytest.mark.parametrize("name", SMALL)
def test_values_stay_and_zeros_keep_their_sign(name):
    values = FORMATS[name].values()
    np.testing.assert_array_equal(round_to(values, name), values)
    assert np.signbit(round_to(np.array([-0.0, -1e-300]), name)).all()
    assert np.signbit(round_to(-1e-300, name))


@pytest.mark.parametrize(
    ("name", "x", "expected"),
    [
        ("fp16", 65519.99, 65504.0),
        ("fp16", 65520.0, np.inf),  # the tie goes to the even neighbour, which is out of range
        ("fp16", -1e300, -np.inf),
        ("fp8_e5m2", 61440.0, np.inf),
        ("fp8_e4m3fn", 464.0, 448.0),
        ("fp8_e4m3fn", 464.01, np.nan),
        ("fp8_e4m3fn", -np.inf, np.nan),
        ("fp4_e2m1", -np.inf, -6.0),
        ("fp4_e2m1", 7.5, 6.0),
        ("bf16", np.nan, np.nan),
    ],
)
def test_overflow_follows_the_format(name, x, expected):
    np.testing.assert_array_equal(round_to(x, name), expected)
    np.testing.assert_array_equal(round_to(np.array([x]), name), [expected])


@pytest.mark.parametrize("x", [np.nan, np.array([1.0, np.nan])])
def test_nan_where_there_is_none(x):
    with pytest.raises(BadInput, match="fp4_e2m1 has no NaN"):
        round_to(x, "fp4_e2m1")


@given(st.integers(0, 2**32))
def test_agrees_with_the_casts_of_numpy(seed):
    rng = np.random.default_rng(seed)
    x = np.ldexp(rng.standard_normal(2000), rng.integers(-160, 130, 2000))
    with np.errstate(all="ignore"):
        for name, dtype in (("fp16", np.float16), ("fp32", np.float32), ("fp64", np.float64)):
            np.testing.assert_array_equal(round_to(x, name), x.astype(dtype).astype(np.float64))


def test_agrees_with_ml_dtypes_from_float32():
    """From float32 their cast rounds once; from float64 it rounds twice, see below."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    rng = np.random.default_rng(1)
    x = np.ldexp(rng.standard_normal(200_000), rng.integers(-140, 20, 200_000)).astype(np.float32)
    for name, dtype in (
        ("bf16", ml_dtypes.bfloat16),
        ("fp8_e4m3fn", ml_dtypes.float8_e4m3fn),
        ("fp8_e5m2", ml_dtypes.float8_e5m2),
        ("fp4_e2m1", ml_dtypes.float4_e2m1fn),
    ):
        np.testing.assert_array_equal(round_to(x, name), x.astype(dtype).astype(np.float32))


def test_one_rounding_where_two_differ():
    x = 1 + 2.0**-11 + 2.0**-40
    assert round_to(x, "fp16") == 1 + 2.0**-10
    assert np.float16(np.float32(x)) == 1.0


def test_dtype_and_library_stay():
    assert round_to(np.ones(2, np.float32), "bf16").dtype == np.float32
    assert round_to(np.ones(2, np.float16), "bf16").dtype == np.float64
    torch = pytest.importorskip("torch")
    x = torch.tensor([[1.001, 3.0]])
    assert round_to(x, "fp8_e4m3fn").tolist() == [[1.0, 3.0]]
    assert round_to(x, "fp8_e4m3fn").dtype == torch.float32


@pytest.mark.parametrize("name", SMALL)
def test_ulp_is_the_distance_to_the_next_value(name):
    values = FORMATS[name].values()
    values = values[values >= 0]
    np.testing.assert_array_equal(ulp(values[:-1], name), np.diff(values))


def test_ulp_of_float32_and_float64_is_numpys_spacing():
    x = np.ldexp(np.random.default_rng(2).random(1000), np.arange(-500, 500))
    np.testing.assert_array_equal(ulp(x, "fp64"), np.spacing(x))
    y = np.ldexp(np.random.default_rng(3).random(200), np.arange(-145, 55)).astype(np.float32)
    np.testing.assert_array_equal(ulp(y, "fp32"), np.spacing(y))
    assert np.isnan(ulp(np.inf, get_format("fp16")))
