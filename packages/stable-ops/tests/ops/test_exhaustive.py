"""16-bit functions of one variable at every input, judged by mpmath with 60 digits."""

import numpy as np
import pytest

import stable_ops
from stable_ops.fp import round_to
from stable_ops.testing.strategies import numpy_dtype

mpmath = pytest.importorskip("mpmath")
pytest.importorskip("ml_dtypes")


def gelu(x):
    return x * mpmath.erfc(-x / mpmath.sqrt(2)) / 2


def gelu_tanh(x):
    u = mpmath.sqrt(2 / mpmath.pi) * (x + mpmath.mpf("0.044715") * x**3)
    return x / (1 + mpmath.exp(-2 * u))


def silu(x):
    return x / (1 + mpmath.exp(-x))


FUNCTIONS = {
    "gelu": (stable_ops.gelu, gelu),
    "gelu tanh": (lambda x: stable_ops.gelu(x, approximate="tanh"), gelu_tanh),
    "silu": (stable_ops.silu, silu),
}


def nearest(value, name: str) -> float:
    """One rounding of a 60-digit number: to odd in float64, which spoils no later one, then to nearest."""
    near = float(value)
    if mpmath.mpf(near) != value and int(np.float64(near).view(np.int64)) % 2 == 0:
        up = (mpmath.mpf(near) < value) == (near > 0 or (near == 0 and value > 0))
        near = float(np.nextafter(near, np.copysign(np.inf, float(value)) if up else 0.0))
    return round_to(near, name)


def disagreements(name: str, dtype: str, step: int) -> list[tuple[float, float, float]]:
    ours, truth = FUNCTIONS[name]
    codes = np.arange(0, 2**16, step).astype(np.uint16)
    x = codes.view(numpy_dtype(dtype))
    with np.errstate(invalid="ignore"):
        inputs = x.astype(np.float64)
    x, inputs = x[np.isfinite(inputs)], inputs[np.isfinite(inputs)]
    got = ours(x).astype(np.float64)
    with mpmath.workdps(60):
        # Beyond 1e4 the factor is 0 or 1 to thousands of digits.
        expected = [
            nearest(truth(mpmath.mpf(v)), dtype) if abs(v) < 1e4 else (v if v > 0 else 0.0) for v in inputs
        ]
    return [(v, a, b) for v, a, b in zip(inputs, got, expected, strict=True) if a != b]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_37th_input(name, dtype):
    assert disagreements(name, dtype, 37) == []


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_input(name, dtype):
    assert disagreements(name, dtype, 1) == []


def test_the_judge_sees_a_second_rounding():
    """1 + 2^-11 + 2^-70 is above the tie, though float64 cannot hold it."""
    with mpmath.workdps(60):
        value = 1 + mpmath.mpf(2) ** -11 + mpmath.mpf(2) ** -70
        assert nearest(value, "fp16") == 1 + 2**-10
        assert nearest(-value, "fp16") == -(1 + 2**-10)
        assert nearest(1 + mpmath.mpf(2) ** -11, "fp16") == 1.0
        assert nearest(1 + mpmath.mpf(2) ** -11 - mpmath.mpf(2) ** -70, "fp16") == 1.0


@pytest.mark.parametrize("name", FUNCTIONS)
def test_limits(name):
    with np.errstate(invalid="raise"):
        got = FUNCTIONS[name][0](np.array([-np.inf, np.inf, np.nan, -0.0, -1e30], dtype=np.float32))
    np.testing.assert_array_equal(got, np.array([0, np.inf, np.nan, 0, 0], dtype=np.float32))
    assert np.signbit(got[[0, 3, 4]]).all()
