"""Codes against a scalar reference in exact rational arithmetic; inputs that must be refused."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mfi_command import BadInput
from quant_risk_analyzer import FORMATS, quantize, search_scale

SHAPES = st.sampled_from([(1, 1), (3, 7), (2, 64), (1, 130), (2, 33), (17, 5)])
KINDS = st.sampled_from(["normal", "tailed", "zeros", "zero row", "constant", "tiny", "huge", "positive"])
FORMAT = st.sampled_from(["int8", "int6", "int4", "int3", "int2"])
GRANULARITY = st.sampled_from(["tensor", "channel", 32, 64])


def draw(seed, shape, kind):
    W = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return {
        "normal": W,
        "tailed": W**5,
        "zeros": W * 0,
        "zero row": W * (np.arange(shape[0]) > 0)[:, None].astype(np.float32),
        "constant": np.full(shape, 0.3, np.float32),
        "tiny": W * np.float32(1e-40),
        "huge": W * np.float32(5e37),
        "positive": np.abs(W) + 3,
    }[kind]


def blocks_of(shape, granularity):
    """Index pairs of the weights that share a scale."""
    rows, columns = shape
    if granularity == "tensor":
        return [[(i, j) for i in range(rows) for j in range(columns)]]
    size = columns if granularity == "channel" else granularity
    return [
        [(i, j) for j in range(start, min(start + size, columns))]
        for i in range(rows)
        for start in range(0, columns, size)
    ]


def check_block(weights, codes, values, scale, zero, low, high):
    """Every code is the nearest to weight / scale + zero in exact arithmetic, but for ties."""
    for w, code, value in zip(weights, codes, values, strict=True):
        exact = Fraction(float(w)) / Fraction(float(scale)) + zero
        nearest = min(max(round(exact), low), high)
        distance = abs(abs(exact - int(np.floor(float(exact)))) - Fraction(1, 2))
        assert code == nearest or distance < 1e-4, (w, scale, code, nearest)
        reconstructed = (int(code) - zero) * Fraction(float(scale))
        assert (
            abs(Fraction(float(value)) - reconstructed)
            <= abs(reconstructed) * Fraction(1, 2**23) + Fraction(2) ** -149
        )


@given(st.integers(0, 2**32), SHAPES, KINDS, FORMAT, GRANULARITY)
def test_symmetric_codes_are_the_nearest_points_of_the_absmax_grid(seed, shape, kind, name, granularity):
    W = draw(seed, shape, kind)
    found = quantize(W, name, granularity=granularity)
    limit = 2 ** (FORMATS[name].bits - 1) - 1
    for scale, block in zip(found.scales.reshape(-1), blocks_of(shape, granularity), strict=True):
        where = tuple(np.array(block).T)
        top = np.abs(W[where]).max()
        expected = np.float32(top) / np.float32(limit)
        assert scale == (expected if expected > 0 else 1)
        check_block(W[where], found.codes[where], found.dequantized[where], scale, 0, -limit, limit)


@given(st.integers(0, 2**32), SHAPES, KINDS, FORMAT, GRANULARITY)
def test_asymmetric_codes_are_the_nearest_points_and_zero_is_exact(seed, shape, kind, name, granularity):
    W = draw(seed, shape, kind)
    W[0, 0] = 0
    found = quantize(W, name, granularity=granularity, symmetric=False)
    high = 2 ** FORMATS[name].bits - 1
    zeros = found.zero_points.reshape(-1)
    for scale, zero, block in zip(
        found.scales.reshape(-1), zeros, blocks_of(shape, granularity), strict=True
    ):
        where = tuple(np.array(block).T)
        check_block(W[where], found.codes[where], found.dequantized[where], scale, int(zero), 0, high)
        # Both ends of the range are on the grid, to half a step for the rounded zero point.
        assert np.abs(found.dequantized[where] - W[where]).max() <= scale * 1.001
    assert found.dequantized[0, 0] == 0


@given(st.integers(0, 2**32), SHAPES, KINDS, FORMAT, GRANULARITY, st.booleans())
def test_torch_gives_the_codes_of_numpy(seed, shape, kind, name, granularity, symmetric):
    W = draw(seed, shape, kind)
    ours = quantize(W, name, granularity=granularity, symmetric=symmetric)
    theirs = quantize(torch.tensor(W), name, granularity=granularity, symmetric=symmetric)
    assert isinstance(theirs.dequantized, torch.Tensor)
    np.testing.assert_array_equal(ours.codes, theirs.codes.numpy())
    np.testing.assert_array_equal(ours.dequantized, theirs.dequantized.numpy())


def test_error_and_size_are_those_of_the_definition():
    W = np.random.default_rng(1).standard_normal((6, 100))
    found = quantize(W, "int4", granularity=32)
    expected = np.linalg.norm(W - found.dequantized) / np.linalg.norm(W)
    assert found.relative_error == pytest.approx(expected, rel=1e-12)
    assert found.snr_db == pytest.approx(20 * np.log10(1 / expected), rel=1e-12)
    # 100 columns are 3 groups of 32 and a ragged one of 4.
    assert found.scales.shape == (6, 4)
    assert found.bits_per_weight == pytest.approx((600 * 4 + 24 * 16) / 600)
    assert quantize(W, "int4", symmetric=False).bits_per_weight == pytest.approx(4 + 6 * 20 / 600)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_type_of_the_weight_comes_back(dtype):
    W = np.random.default_rng(2).standard_normal((4, 8)).astype(dtype)
    assert quantize(W, "int8").dequantized.dtype == dtype


def test_bfloat16_weights_are_rounded_in_float32():
    W = torch.randn(4, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    found = quantize(W, "int8")
    assert found.dequantized.dtype == torch.bfloat16
    np.testing.assert_array_equal(found.codes.numpy(), quantize(W.float().numpy(), "int8").codes)


@given(st.integers(0, 2**32), KINDS, st.sampled_from(["int4", "int3"]), GRANULARITY)
def test_mse_scale_is_the_best_of_its_grid_and_never_worse_than_absmax(seed, kind, name, granularity):
    W = draw(seed, (2, 36), kind).astype(np.float64)
    scales = search_scale(W, name, granularity=granularity, points=12)
    limit = 2 ** (FORMATS[name].bits - 1) - 1
    for scale, block in zip(scales.reshape(-1), blocks_of(W.shape, granularity), strict=True):
        w = W[tuple(np.array(block).T)]
        start = np.abs(w).max() / limit or 1.0
        errors = {}
        for fraction in [0.2 + 0.8 * i / 11 for i in range(12)]:
            step = start * fraction
            errors[fraction] = sum(
                (x / start - max(-limit, min(limit, round(x / step))) * fraction) ** 2 for x in w
            )
        reached = sum((x / start - max(-limit, min(limit, round(x / scale))) * scale / start) ** 2 for x in w)
        assert reached <= min(errors.values()) * (1 + 1e-6) + 1e-12


def test_given_scales_clip():
    W = np.array([[0.1, 0.2, 1.0]], np.float32)
    found = quantize(W, "int4", scales=np.array([[0.05]], np.float32))
    assert found.codes.tolist() == [[2, 4, 7]]


@pytest.mark.parametrize(
    ("W", "options", "says"),
    [
        (np.array([[1.0, np.nan]]), {}, "1 NaN or infinite"),
        (np.array([[1.0, np.inf]]), {}, "NaN or infinite"),
        (np.zeros((0, 4)), {}, "no elements"),
        (np.array([[1, 2]]), {}, "floating"),
        ([[1.0, 2.0]], {}, "numpy array or a torch tensor"),
        (np.ones((2, 2)), {"format": "int44"}, "did you mean int4"),
        (np.ones((2, 2)), {"format": "nf4x"}, "unknown number format"),
        (np.ones((2, 2)), {"granularity": 0}, "granularity 0"),
        (np.ones((2, 2)), {"granularity": "row"}, "expected 'tensor', 'channel' or a group size"),
        (np.ones((2, 2)), {"scales": np.ones((1, 1))}, r"expected \(2, 1\)"),
        (np.ones((2, 2)), {"scales": np.zeros((2, 1))}, "positive"),
        (np.ones((2, 2)), {"scales": np.ones((2, 1)), "symmetric": False}, "symmetric=True"),
    ],
)
def test_bad_input_is_refused_in_one_line(W, options, says):
    options = dict(options)
    with pytest.raises(BadInput, match=says) as refused:
        quantize(W, options.pop("format", "int4"), **options)
    assert "\n" not in str(refused.value)


def test_bad_searches_are_refused():
    with pytest.raises(BadInput, match="unknown scale search"):
        search_scale(np.ones((2, 2)), "int4", method="hope")
    with pytest.raises(BadInput, match="points=1"):
        search_scale(np.ones((2, 2)), "int4", points=1)
