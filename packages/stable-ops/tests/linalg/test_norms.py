"""Norms against rational arithmetic, mpmath and LAPACK."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfi_command import BadInput
from stable_ops import matrix_norm, vector_norm
from stable_ops.testing import assert_ulp
from stable_ops.testing.strategies import rows


def exact_norm(x: np.ndarray, p: float) -> float:
    """1, 2 and inf from rational sums; the root by an integer square root with 200 extra bits."""
    values = [abs(Fraction(float(v))) for v in x]
    if p == 1:
        return float(sum(values))
    if p == 2:
        square = sum(v * v for v in values)
        scaled = math.isqrt(square.numerator * 4**200 * square.denominator)
        return float(Fraction(scaled, square.denominator * 2**200))
    return float(max(values))


@given(
    rows(dtypes=["float16", "float32"], shapes=[(1, 1), (1, 7), (1, 300)]), st.sampled_from([1, 2, math.inf])
)
def test_correctly_rounded_in_any_layout(drawn, p):
    x = drawn.array[0]
    assert_ulp(vector_norm(x, p), exact_norm(x, p))


@pytest.mark.parametrize("p", [1.5, 3, 10, 200])
def test_general_p_against_mpmath(p):
    mpmath = pytest.importorskip("mpmath")
    x = np.random.default_rng(0).standard_normal(50) * 1e30
    with mpmath.workdps(60):
        expected = sum(abs(mpmath.mpf(v)) ** p for v in x) ** (1 / mpmath.mpf(p))
        relative = abs(float(vector_norm(x, p) / expected - 1))
    assert relative < (p + 10) * 2.0**-53


@pytest.mark.parametrize(
    ("x", "dtype", "expected"),
    [
        ([600, 800], np.float16, 1000.0),
        ([60_000, 25_000], np.float16, 65_000.0),
        ([1e20, 1], np.float32, np.float32(1e20)),
        ([1e-30, 1e-30], np.float32, np.float32(math.sqrt(2) * float(np.float32(1e-30)))),
        ([3e300, 4e300], np.float64, 5e300),
        ([3e-320, 4e-320], np.float64, 5e-320),
        ([5e-324], np.float64, 5e-324),
        ([0.0, -0.0], np.float32, 0.0),
        ([np.inf, 1.0], np.float32, np.inf),
        ([np.nan, np.inf], np.float32, np.nan),
        ([65504, 65504], np.float16, np.inf),
    ],
)
def test_extremes(x, dtype, expected):
    got = vector_norm(np.array(x, dtype=dtype))
    assert got.dtype == dtype
    if np.isnan(expected):
        assert np.isnan(got)
    else:
        assert got == pytest.approx(expected, rel=float(np.finfo(dtype).eps), abs=0)


def test_axis_and_empty():
    x = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_allclose(vector_norm(x, 2, axis=1), np.linalg.norm(x, axis=1), rtol=1e-15)
    np.testing.assert_array_equal(vector_norm(np.zeros((2, 0))), [0, 0])


@given(
    st.integers(0, 2**32),
    st.sampled_from([(1, 1), (1, 9), (9, 1), (30, 50), (80, 80)]),
    st.integers(-200, 200),
)
def test_matrix_norms_are_lapacks(seed, shape, power):
    A = np.random.default_rng(seed).standard_normal(shape)
    scale = 2.0**power
    assert matrix_norm(A * scale, "op") == pytest.approx(np.linalg.norm(A, 2) * scale, rel=1e-12, abs=0)
    assert matrix_norm(A * scale) == pytest.approx(np.linalg.norm(A) * scale, rel=1e-14, abs=0)


@pytest.mark.parametrize("equal", [2, 8, 20])
def test_operator_norm_with_equal_singular_values(equal):
    rng = np.random.default_rng(1)
    left, right = (np.linalg.qr(rng.standard_normal((60, 40)))[0] for _ in range(2))
    sigma = np.concatenate([np.full(equal, 3.0), np.linspace(2.999, 0.1, 40 - equal)])
    assert matrix_norm((left * sigma) @ right.T, "op") == pytest.approx(3.0, rel=1e-9)


def test_operator_norm_of_float32_and_of_nothing():
    A = np.random.default_rng(2).standard_normal((20, 30)).astype(np.float32)
    assert_ulp(matrix_norm(A, "op"), np.linalg.norm(A.astype(np.float64), 2))
    assert matrix_norm(np.zeros((3, 4)), "op") == 0
    assert matrix_norm(np.zeros((0, 4)), "op") == 0
    assert matrix_norm(np.full((2, 2), 5e-324), "op") > 0
    assert matrix_norm(np.full((2, 2), 1e307), "op") == pytest.approx(2e307)


def test_tensors():
    torch = pytest.importorskip("torch")
    x = torch.tensor([[600.0, 800.0]], dtype=torch.float16)
    assert vector_norm(x).tolist() == [1000.0]
    assert matrix_norm(x).item() == 1000.0
    assert matrix_norm(x, "op").dtype == torch.float16


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: vector_norm([1.0], 0.5), "p must"),
        (lambda: vector_norm([1.0], math.nan), "p must"),
        (lambda: matrix_norm([1.0]), "one matrix"),
        (lambda: matrix_norm([[1.0]], "nuc"), "nuc"),
        (lambda: matrix_norm([[math.nan]], "op"), "NaN"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(BadInput, match=message):
        call()
