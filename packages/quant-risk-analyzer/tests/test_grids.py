"""Floating-point, table and block formats against ml_dtypes, stable_ops and gguf, bit for bit."""

import gguf
import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mfi_command import BadInput
from quant_risk_analyzer import FORMATS, quantize
from quant_risk_analyzer.formats import E2M1, E4M3, E5M2
from quant_risk_analyzer.grids import FloatGrid, TableGrid, float_values
from stable_ops.fp import round_to_blocks

PEERS = {
    "fp8_e4m3": (E4M3, ml_dtypes.float8_e4m3fn),
    "fp8_e5m2": (E5M2, ml_dtypes.float8_e5m2),
    "fp4_e2m1": (E2M1, ml_dtypes.float4_e2m1fn),
}
SEED = st.integers(0, 2**32)
SHAPE = st.sampled_from([(3, 64), (5, 33), (1, 16), (4, 100)])
SPREAD = st.sampled_from([0.0, 1.0, 6.0])


def draw(seed, shape, spread):
    generator = np.random.default_rng(seed)
    sizes = np.exp(spread * generator.standard_normal(shape))
    return (generator.standard_normal(shape) * sizes).astype(np.float32)


@pytest.mark.parametrize("name", PEERS)
def test_every_bit_pattern_stands_for_the_number_of_ml_dtypes(name):
    element, peer = PEERS[name]
    codes = np.arange(2**element.bits, dtype=np.uint8)
    theirs = codes.view(peer).astype(np.float64) if element.bits == 8 else codes.astype(np.uint8).view(peer)
    theirs = theirs.astype(np.float64)
    finite = np.isfinite(theirs)
    np.testing.assert_array_equal(float_values(element)[finite], theirs[finite])
    assert element.largest == theirs[finite].max()


@pytest.mark.parametrize("name", PEERS)
def test_every_float16_rounds_as_in_ml_dtypes(name):
    """All 63488 finite float16 numbers, ties included: those in range, code and value."""
    element, peer = PEERS[name]
    x = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)
    x = x[np.isfinite(x) & (np.abs(x) <= element.largest)].reshape(1, 1, -1)
    grid = FloatGrid(np.ones((1, 1, 1), np.float32), element)
    theirs = x.astype(peer)
    np.testing.assert_array_equal(grid.encode(x).astype(np.uint8), theirs.view(np.uint8))
    np.testing.assert_array_equal(grid.nearest(x), theirs.astype(np.float32))
    np.testing.assert_array_equal(grid.decode(grid.encode(x)), grid.nearest(x))


@given(SEED, SHAPE, SPREAD, st.sampled_from(sorted(PEERS)))
def test_scaled_floats_are_those_of_ml_dtypes(seed, shape, spread, name):
    W = draw(seed, shape, spread)
    element, peer = PEERS[name]
    found = quantize(W, name)
    scale = np.abs(W).max(1, keepdims=True) / np.float32(element.largest)
    expected = np.clip(W / scale, -element.largest, element.largest).astype(peer)
    np.testing.assert_array_equal(found.codes, expected.view(np.uint8))
    np.testing.assert_array_equal(found.dequantized, expected.astype(np.float32) * scale)


@given(SEED, SHAPE, SPREAD, st.sampled_from(["mxfp8_e4m3", "mxfp8_e5m2", "mxfp4"]))
def test_mx_is_that_of_the_specification(seed, shape, spread, name):
    W = draw(seed, shape, spread)
    expected = round_to_blocks(W, name)
    found = quantize(W, name)
    np.testing.assert_array_equal(found.dequantized, expected.values)
    np.testing.assert_array_equal(found.scales, expected.scales)


@given(SEED, st.sampled_from([(2, 64), (3, 96)]))
def test_mxfp4_has_the_bytes_of_gguf(seed, shape):
    """gguf breaks ties to the level that comes first in its table: random numbers have none."""
    W = draw(seed, shape, 1.0)
    kind = gguf.GGMLQuantizationType.MXFP4
    theirs = gguf.quants.dequantize(gguf.quants.quantize(W, kind), kind)
    np.testing.assert_array_equal(quantize(W, "mxfp4").dequantized, theirs)


@given(SEED, SHAPE, SPREAD)
def test_nvfp4_has_the_scales_of_its_definition(seed, shape, spread):
    """float32 here, float64 there: a scale or an element on a border may go either way, by one step."""
    W = draw(seed, shape, spread)
    expected, found = round_to_blocks(W, "nvfp4"), quantize(W, "nvfp4")
    same = np.isclose(found.dequantized, expected.values, rtol=1e-6, atol=0)
    assert same.mean() > 0.95
    top = np.abs(W).max()
    assert (np.abs(found.dequantized - W).max() <= np.abs(expected.values - W).max() * 1.01) or top == 0


@given(SEED, st.sampled_from([16, 64]), SPREAD)
def test_nf4_takes_the_nearest_level(seed, group, spread):
    W = draw(seed, (3, 100), spread)
    found = quantize(W, "nf4", granularity=group)
    levels = np.array(FORMATS["nf4"].levels)
    for start in range(0, 100, group):
        part = W[:, start : start + group].astype(np.float64)
        scale = np.abs(part).max(1, keepdims=True)
        distance = np.abs(part[..., None] / scale[..., None] - levels)
        reached = np.take_along_axis(
            distance, found.codes[:, start : start + group, None].astype(int), 2
        ).squeeze(2)
        np.testing.assert_allclose(reached, distance.min(2), atol=1e-6)


def packed_q4_k(found, rows):
    """The bytes that llama.cpp stores for these codes, scales and minima (block_q4_K of ggml)."""
    blocks = found.scales.shape[1]
    parts = (rows, blocks, 8, 32)
    scales, minima = (each.reshape(parts)[..., 0] for each in (found.scales, found.zero_points))
    codes = np.pad(found.codes, ((0, 0), (0, blocks * 256 - found.codes.shape[1]))).reshape(parts)

    def six_bits(values):
        unit = (values.max(-1, keepdims=True) / 63).astype(np.float16)
        wide = np.where(unit > 0, unit, 1).astype(np.float32)
        return unit, np.rint(values / wide).astype(np.uint8)

    (d, sc), (dmin, m) = six_bits(scales), six_bits(minima)
    low = (sc[..., :4] & 63) | ((sc[..., 4:] >> 4) << 6)
    mid = (m[..., :4] & 63) | ((m[..., 4:] >> 4) << 6)
    high = (sc[..., 4:] & 15) | ((m[..., 4:] & 15) << 4)
    pairs = codes.reshape(rows, blocks, 4, 2, 32)
    nibbles = (pairs[..., 0, :] | (pairs[..., 1, :] << 4)).reshape(rows, blocks, 128)
    return np.concatenate([d.view(np.uint8), dmin.view(np.uint8), low, mid, high, nibbles], -1).reshape(
        rows, -1
    )


@given(SEED, st.sampled_from([(2, 256), (1, 512)]), st.sampled_from([0.0, 1.0]))
def test_q4_k_reads_back_from_the_bytes_of_llama_cpp(seed, shape, spread):
    W = draw(seed, shape, spread)
    found = quantize(W, "q4_k")
    raw = packed_q4_k(found, shape[0])
    assert raw.size * 8 == W.size * 4.5 == found.bits_per_weight * W.size
    theirs = gguf.quants.dequantize(raw, gguf.GGMLQuantizationType.Q4_K)
    np.testing.assert_array_equal(found.dequantized, theirs)


@given(SEED, SHAPE, st.sampled_from(sorted(set(FORMATS) - {"nf4"})))
def test_torch_gives_the_values_of_numpy(seed, shape, name):
    W = draw(seed, shape, 1.0)
    ours, theirs = quantize(W, name), quantize(torch.tensor(W), name)
    np.testing.assert_array_equal(ours.dequantized, theirs.dequantized.numpy())
    np.testing.assert_array_equal(ours.codes, theirs.codes.numpy())


@pytest.mark.parametrize("name", sorted(FORMATS))
@pytest.mark.parametrize("W", [np.zeros((2, 300), np.float32), np.full((2, 300), 1e-30, np.float32)])
def test_zeros_and_tiny_weights_have_finite_values(name, W):
    found = quantize(W, name)
    assert np.isfinite(found.dequantized).all()
    assert found.dequantized.shape == W.shape
    if not W.any():
        assert not found.dequantized.any()


def test_table_grid_counts_levels():
    grid = TableGrid(np.full((1, 1, 1), 2.0), (-1.0, 0.0, 1.0))
    assert grid.encode(np.array([[[-1.2, -0.9, 0.9, 1.2]]])).tolist() == [[[0, 1, 1, 2]]]


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("nvfp4", {"scales": np.ones((2, 1))}, "chooses its own scales"),
        ("nf4", {"symmetric": False}, "no zero point"),
        ("fp8_e4m4", {}, "did you mean fp8_e4m3"),
    ],
)
def test_what_a_format_cannot_do_is_refused(name, options, says):
    with pytest.raises(BadInput, match=says):
        quantize(np.ones((2, 16), np.float32), name, **options)


def test_q4_k_refuses_what_float16_scales_cannot_hold():
    with pytest.raises(BadInput, match="float16"):
        quantize(np.full((1, 256), 1e30, np.float32), "q4_k")
