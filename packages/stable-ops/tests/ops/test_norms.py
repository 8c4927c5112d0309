"""layer_norm and rms_norm against longdouble, and the forms that are not theirs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfi_command import BadInput
from stable_ops import layer_norm, rms_norm
from stable_ops.testing import assert_ulp
from stable_ops.testing.oracles import truth
from stable_ops.testing.rounded import correctly_rounded
from stable_ops.testing.strategies import rows


def affine(seed: int, n: int, dtype) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return (1 + rng.standard_normal(n)).astype(dtype), rng.standard_normal(n).astype(dtype)


@given(rows(dtypes=["float16", "float32"]), st.integers(0, 100))
def test_correctly_rounded_in_any_layout(drawn, seed):
    x = drawn.array
    weight, bias = affine(seed, x.shape[-1], x.dtype)
    assert_ulp(layer_norm(x, weight, bias), truth("layer_norm", x, weight, bias))
    assert_ulp(rms_norm(x, weight), truth("rms_norm", x, weight))


@pytest.mark.parametrize("mean", [1e3, 1e4, 1e6])
def test_a_large_mean_costs_nothing(mean):
    x = (mean + np.random.default_rng(0).standard_normal((8, 4096))).astype(np.float32)
    ones, zeros = np.ones(4096), np.zeros(4096)
    error = np.abs(layer_norm(x) - truth("layer_norm", x, ones, zeros))
    assert error.max() < 2.5e-7  # half an ulp of a result below 8


def test_the_mean_is_taken_out_to_the_last_bit():
    """At 2^23 a mean rounded to float64 is off by 1e-9, which misrounds one result in a hundred."""
    x = (2.0**23 + np.random.default_rng(1).integers(0, 8, (512, 63))).astype(np.float32)
    assert_ulp(layer_norm(x), truth("layer_norm", x, np.ones(63), np.zeros(63)))


def test_equal_values_give_the_bias_exactly():
    x = np.full((2, 1001), 0.1, dtype=np.float32)
    bias = np.linspace(-1, 1, 1001, dtype=np.float32)
    np.testing.assert_array_equal(layer_norm(x, bias=bias), np.tile(bias, (2, 1)))


def test_neither_overflows_nor_vanishes():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    huge = np.array([1e20, -1e20], ml_dtypes.bfloat16)
    np.testing.assert_array_equal(rms_norm(huge).astype(float), [1, -1])
    small = np.array([3e-25, 4e-25], np.float32)
    np.testing.assert_allclose(rms_norm(small, eps=0.0), [0.848528, 1.131371], 1e-6)
    np.testing.assert_allclose(rms_norm(np.array([3e200, 4e200])), [0.848528137, 1.131370850], 1e-9)
    np.testing.assert_allclose(rms_norm(np.array([3e-200, 4e-200])), [3e-197, 4e-197], 1e-12)
    np.testing.assert_allclose(layer_norm(np.array([1e20, -1e20], np.float32)), [1, -1], 1e-7)


def test_the_ends_of_float64():
    """The sum of a row overflows before its norm does; the square of a subnormal vanishes."""
    big, small = 1.7e308, 5e-324
    np.testing.assert_array_equal(layer_norm([big, -big, big, -big]), [1, -1, 1, -1])
    np.testing.assert_allclose(layer_norm([big, big, big, -big]), np.array([1, 1, 1, -3]) / np.sqrt(3), 1e-15)
    np.testing.assert_array_equal(layer_norm([big, big, big]), [0, 0, 0])
    np.testing.assert_array_equal(rms_norm([big, -big, big]), [1, -1, 1])
    np.testing.assert_array_equal(rms_norm([small, -small], eps=0.0), [1, -1])
    np.testing.assert_array_equal(layer_norm([small, -small], eps=0.0), [1, -1])
    # Rows of other magnitudes in one block do not touch each other.
    mixed = np.array([[big, -big], [small, -small], [1.0, 3.0]])
    for i in range(3):
        np.testing.assert_array_equal(layer_norm(mixed, eps=1e-300)[i], layer_norm(mixed[i], eps=1e-300))


def test_zero_over_zero_is_undefined():
    assert np.isnan(rms_norm(np.zeros(3), eps=0.0)).all()
    assert np.isnan(layer_norm(np.ones(3), eps=0.0)).all()
    np.testing.assert_array_equal(rms_norm(np.zeros(3)), np.zeros(3))
    assert np.isnan(layer_norm(np.array([1.0, np.nan, 2.0]))).all()


def test_weights_are_used_in_their_own_precision():
    x = np.random.default_rng(1).standard_normal((3, 64)).astype(np.float16)
    weight, bias = affine(2, 64, np.float64)
    assert_ulp(layer_norm(x, weight, bias), truth("layer_norm", x, weight, bias))


def test_another_axis():
    x = np.random.default_rng(2).standard_normal((5, 7, 3)).astype(np.float32)
    weight, bias = affine(3, 7, np.float32)
    expected = np.moveaxis(layer_norm(np.moveaxis(x, 1, -1), weight, bias), -1, 1)
    np.testing.assert_array_equal(layer_norm(x, weight, bias, axis=1), expected)


def test_gemma_adds_one_to_the_weight_without_rounding_it():
    """In float16 1 + 2^-12 is 1; here that sum is not rounded to the format."""
    x = np.random.default_rng(3).standard_normal((16, 257)).astype(np.float16)
    weight = (2.0**-12 * np.random.default_rng(4).standard_normal(257)).astype(np.float16)
    y = rms_norm(x, weight, form="gemma")
    assert_ulp(y, truth("rms_norm", x, 1 + weight.astype(np.float64)))
    assert (y != rms_norm(x, 1 + weight)).mean() > 0.05
    np.testing.assert_array_equal(rms_norm(x, form="gemma"), rms_norm(x))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: layer_norm(x, np.ones(3)), "weight has shape"),
        (lambda x: layer_norm(x, None, np.ones((1, 4))), "bias has shape"),
        (lambda x: rms_norm(x, eps=-1.0), "eps"),
        (lambda x: rms_norm(x, eps=np.nan), "eps"),
        (lambda x: rms_norm(x, form="llama"), "llama"),
        (lambda x: layer_norm(x, axis=5), "axis 5"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(BadInput, match=message):
        call(np.zeros((2, 4)))


@pytest.mark.parametrize("form", ["exact", "hf", "gemma"])
def test_rows_that_vanish_beside_eps(form):
    """Times 1000.00000000000002 the weight: closer to a tie than float64 can tell."""
    pytest.importorskip("flint")
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    rng = np.random.default_rng(246466)
    x = (rng.standard_normal((4, 2048)) * 2.0 ** rng.integers(-130, -60, (4, 1))).astype(bfloat16)
    weight = rng.standard_normal(2048).astype(bfloat16)
    op = "rms_norm" if form == "exact" else f"rms_norm_{form}"
    rounded = correctly_rounded(op, x, weight)
    assert rounded.near > 0
    assert int(rounded.wrong(rms_norm(x, weight, form=form)).sum()) == 0


@pytest.mark.parametrize("magnitude", [2e3, 1e20, 3e38])
def test_an_eps_too_small_to_be_seen_decides_a_tie(magnitude):
    """1 + w is half way between two numbers of bfloat16, and x over the root is less than one."""
    torch = pytest.importorskip("torch")
    x = torch.tensor([[magnitude], [-magnitude]]).bfloat16()
    w = torch.tensor([1.4609375]).bfloat16()
    tie = 1 + float(w)
    below = 2.453125
    assert 2 * tie == below + float(torch.tensor(2.46875).bfloat16())
    y = rms_norm(x, w, form="gemma")
    assert y.flatten().tolist() == [below, -below]
    assert rms_norm(x, w, form="gemma", eps=0.0).flatten().tolist() == [2.46875, -2.46875]
