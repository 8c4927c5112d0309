"""Block scaling against gfloat, ml_dtypes, and the definition in rational arithmetic."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfi_command import BadInput
from stable_ops.fp import BLOCK_FORMATS, get_block_format, round_to, round_to_blocks

MX = [name for name in BLOCK_FORMATS if name.startswith("mx")]


def draw(seed: int, shape: tuple[int, ...], spread: int = 20) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.ldexp(rng.standard_normal(shape), rng.integers(-spread, spread, shape)).astype(np.float32)


def by_the_rule(block: np.ndarray, name: str) -> np.ndarray:
    """OCP MX 1.0, 6.3, in rational arithmetic."""
    element = BLOCK_FORMATS[name].element
    largest = max(abs(Fraction(float(v))) for v in block)
    if largest == 0:
        return np.zeros_like(block)
    exponent = 0
    while largest >= Fraction(2) ** (exponent + 1):
        exponent += 1
    while largest < Fraction(2) ** exponent:
        exponent -= 1
    top = int(np.log2(element.max))
    scale = Fraction(2) ** min(127, max(-127, exponent - top))
    quotients = [min(max(float(Fraction(float(v)) / scale), -element.max), element.max) for v in block]
    return np.array([round_to(q, element) * float(scale) for q in quotients])


@given(st.integers(0, 2**32), st.sampled_from(MX), st.sampled_from([0, 3, 20]))
def test_mx_is_the_rule_of_the_specification(seed, name, spread):
    x = draw(seed, (3, 32), max(1, spread))
    x[2, ::2] = 0
    stored = round_to_blocks(x, name)
    np.testing.assert_array_equal(stored.values, [by_the_rule(row, name) for row in x])
    assert np.isin(stored.elements, BLOCK_FORMATS[name].element.values()).all()
    assert (np.frexp(stored.scales)[0] == 0.5).all()


@pytest.mark.parametrize("name", MX)
def test_mx_is_gfloats(name):
    formats = pytest.importorskip("gfloat.formats")
    from gfloat.block import compute_scale_amax, quantize_block

    theirs = getattr(formats, f"format_info_{name}")
    x = draw(1, (50, 32), 6)
    expected = [quantize_block(theirs, row.astype(np.float64), compute_scale_amax) for row in x]
    np.testing.assert_array_equal(round_to_blocks(x, name).values, expected)
    assert BLOCK_FORMATS[name].bits_per_element == theirs.block_size_bytes * 8 / theirs.k


def test_nvfp4_is_its_recipe():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = draw(2, (4, 64), 3)
    tensor_scale = np.float32(np.abs(x).max() / np.float32(6 * 448))
    expected = np.empty(x.shape)
    for row in range(4):
        for start in range(0, 64, 16):
            block = x[row, start : start + 16].astype(np.float64)
            scale = np.float32(np.abs(block).max() / (6 * np.float64(tensor_scale)))
            scale = float(scale.astype(ml_dtypes.float8_e4m3fn))
            full = scale * float(tensor_scale)
            elements = (block / full).astype(np.float32).astype(ml_dtypes.float4_e2m1fn).astype(np.float64)
            expected[row, start : start + 16] = elements * full
    stored = round_to_blocks(x, "nvfp4")
    np.testing.assert_allclose(stored.values, expected, rtol=1e-7)
    assert stored.tensor_scale == tensor_scale
    assert BLOCK_FORMATS["nvfp4"].bits_per_element == 4.5


def test_a_block_follows_the_axis_and_may_be_short():
    x = draw(3, (40, 5), 4)
    down = round_to_blocks(x, "mxfp6_e2m3", axis=0)
    assert down.scales.shape == (2, 5)
    np.testing.assert_array_equal(down.values, round_to_blocks(x.T, "mxfp6_e2m3").values.T)
    np.testing.assert_array_equal(down.values[:32], round_to_blocks(x[:32], "mxfp6_e2m3", axis=0).values)
    np.testing.assert_array_equal(down.values[32:], round_to_blocks(x[32:], "mxfp6_e2m3", axis=0).values)


def test_a_nan_or_infinity_spoils_its_block_only():
    x = np.ones((1, 64))
    for bad in (np.nan, np.inf):
        x[0, 3] = bad
        for name in BLOCK_FORMATS:
            stored = round_to_blocks(x, name)
            width = BLOCK_FORMATS[name].block
            assert np.isnan(stored.values[0, :width]).all()
            assert np.isfinite(stored.values[0, width:]).all()


def test_the_largest_of_a_block_saturates():
    assert round_to_blocks(np.array([500.0]), "mxfp8").values.tolist() == [448.0]
    assert round_to_blocks(np.array([-7.9]), "mxfp4").values.tolist() == [-6.0]


def test_extremes_of_the_scale():
    tiny = round_to_blocks(np.array([2.0**-140]), "mxfp8_e4m3")
    assert tiny.scales.tolist() == [2.0**-127]
    huge = round_to_blocks(np.array([2.0**300]), "mxfp8_e4m3")
    assert huge.values.tolist() == [448 * 2.0**127]
    for name in BLOCK_FORMATS:
        assert round_to_blocks(np.zeros(3), name).values.tolist() == [0, 0, 0]
        assert round_to_blocks(np.zeros((2, 0)), name).values.shape == (2, 0)


def test_stochastic_elements_are_neighbours_and_unbiased():
    x = np.full((1000, 32), 1.2)
    x[:, 0] = 4.0
    stored = round_to_blocks(x, "mxfp4", rounding="stochastic", seed=0)
    assert set(np.unique(stored.values)) == {1.0, 1.5, 4.0}
    assert abs(stored.values[:, 1:].mean() - 1.2) < 5 * 0.25 / np.sqrt(31_000)


def test_tensors_and_names():
    torch = pytest.importorskip("torch")
    x = torch.randn(2, 32, generator=torch.Generator().manual_seed(0))
    stored = round_to_blocks(x, "mxfp8")
    assert stored.values.dtype == torch.float32
    np.testing.assert_array_equal(stored.values.numpy(), round_to_blocks(x.numpy(), "mxfp8_e4m3").values)
    assert get_block_format("MXFP6").name == "mxfp6_e3m2"
    with pytest.raises(BadInput, match="mxfp4_e2m1"):
        round_to_blocks(np.ones(3), "mxint8")
    with pytest.raises(BadInput, match="axis"):
        round_to_blocks(np.ones(3), "mxfp8", axis=1)
    with pytest.raises(BadInput, match="axis"):
        round_to_blocks(np.float64(1), "mxfp8")
