"""softmax, log_softmax, logsumexp on drawn rows, against mpmath and longdouble."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfi_command import BadInput
from stable_ops import log_softmax, logsumexp, softmax
from stable_ops.testing import assert_ulp
from stable_ops.testing.inputs import KINDS, MASKED_KINDS
from stable_ops.testing.oracles import truth
from stable_ops.testing.strategies import LAYOUTS, Drawn, rows

FUNCTIONS = {"softmax": softmax, "log_softmax": log_softmax, "logsumexp": logsumexp}
ALL_KINDS = [*KINDS, *MASKED_KINDS]


@given(rows(dtypes=["float16", "float32"], kinds=ALL_KINDS), st.sampled_from(list(FUNCTIONS)))
def test_correctly_rounded_in_any_layout(drawn, name):
    x = drawn.array
    result = FUNCTIONS[name](x)
    assert result.dtype == x.dtype
    assert_ulp(result, truth(name, x))


@given(rows(dtypes=["float64"]))
def test_float64_within_its_bound(drawn):
    x = drawn.array
    expected = truth("softmax", x)
    bound = 2.0**-53 * (6 + np.log2(x.shape[-1]) + np.ptp(x, axis=-1, keepdims=True))
    # Below the smallest normal number an absolute error is all there is.
    assert (np.abs(softmax(x) - expected) <= bound * expected + 1e-320).all()


@given(rows(kinds=ALL_KINDS), st.sampled_from(list(FUNCTIONS)))
def test_a_row_does_not_know_its_batch(drawn, name):
    x = drawn.array
    whole = FUNCTIONS[name](x)
    for i in range(x.shape[0]):
        np.testing.assert_array_equal(FUNCTIONS[name](x[i]), whole[i])
    np.testing.assert_array_equal(FUNCTIONS[name](x[::-1]), whole[::-1])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_layout_in_memory_is_no_part_of_the_value(name, layout):
    """float64 shows every bit of a sum, whose order numpy takes from the layout."""
    x = Drawn(0, "normal", (5, 128), "float64", layout).array
    np.testing.assert_array_equal(FUNCTIONS[name](x), FUNCTIONS[name](np.array(x, order="C")))


@given(rows(dtypes=["float16", "float32"]), st.sampled_from(list(FUNCTIONS)))
def test_any_axis(drawn, name):
    x = np.stack([drawn.array, drawn.array[:, ::-1]], axis=0)
    for axis in (0, 1, -3, -2):
        expected = FUNCTIONS[name](np.ascontiguousarray(np.moveaxis(x, axis, -1)))
        got = FUNCTIONS[name](x, axis=axis)
        if name != "logsumexp":
            got = np.moveaxis(got, axis, -1)
        np.testing.assert_array_equal(got, expected)


def test_mpmath_agrees_in_the_tail():
    mpmath = pytest.importorskip("mpmath")
    x = np.array([0.0, -40.0, -41.0, -90.0], dtype=np.float32)
    with mpmath.workdps(50):
        total = mpmath.log(sum(mpmath.exp(mpmath.mpf(float(v))) for v in x))
        expected = [float(mpmath.mpf(float(v)) - total) for v in x]
    assert_ulp(log_softmax(x), expected)
    assert log_softmax(x)[0] < 0


def test_a_tie_that_the_logarithm_decides():
    """x - m is -2049, between two numbers of float16; the truth is below it by e^-2049."""
    x = np.array([1, -2048], dtype=np.float16)
    assert log_softmax(x)[1] == -2050
    assert log_softmax(x.astype(np.float64))[1] == -2049


def test_a_million_columns():
    x = (3 * np.random.default_rng(0).standard_normal((1, 2**20))).astype(np.float32)
    assert_ulp(softmax(x), truth("softmax", x))
    assert_ulp(log_softmax(x), truth("log_softmax", x))


def test_rows_without_an_answer():
    inf, nan = np.inf, np.nan
    x = np.array([[-inf, -inf], [inf, 0.0], [nan, 0.0], [-inf, 0.0]])
    np.testing.assert_array_equal(softmax(x), [[nan, nan], [nan, nan], [nan, nan], [0, 1]])
    np.testing.assert_array_equal(log_softmax(x), [[nan, nan], [nan, nan], [nan, nan], [-inf, 0]])
    np.testing.assert_array_equal(logsumexp(x), [-inf, inf, nan, 0])


def test_empty_rows():
    assert softmax(np.zeros((3, 0))).shape == (3, 0)
    assert softmax(np.zeros((0, 3))).shape == (0, 3)
    np.testing.assert_array_equal(logsumexp(np.zeros((2, 0))), [-np.inf, -np.inf])


def test_bfloat16_tensors_come_back_as_they_came():
    torch = pytest.importorskip("torch")
    x = torch.randn(4, 33, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    y = softmax(x.T, axis=0)
    assert (y.dtype, y.device, y.shape) == (torch.bfloat16, x.device, (33, 4))
    assert torch.equal(y, softmax(x).T)


@pytest.mark.parametrize(
    ("x", "axis", "message"),
    [
        (np.zeros(3, complex), -1, "complex128"),
        (np.array(["a"]), -1, "dtype"),
        (np.zeros((2, 2)), 2, "axis 2"),
        (np.float32(1.0), -1, "axis -1"),
    ],
)
def test_bad_input(x, axis, message):
    with pytest.raises(BadInput, match=message):
        softmax(x, axis=axis)


def test_gradients_are_refused_and_not_dropped():
    torch = pytest.importorskip("torch")
    x = torch.zeros(3, requires_grad=True)
    with pytest.raises(BadInput, match="detach"):
        softmax(x)
    with torch.no_grad():
        assert softmax(x).tolist() == pytest.approx([1 / 3] * 3)
