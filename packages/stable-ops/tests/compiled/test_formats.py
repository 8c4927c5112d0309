"""16-bit codes in compiled loops against numpy, ml_dtypes and the rounding of stable_ops.fp."""

import ml_dtypes
import numpy as np
import pytest

pytest.importorskip("numba")

from stable_ops.compiled import formats
from stable_ops.compiled.bits import loop
from stable_ops.fp import round_to

KINDS = {
    "bf16": (formats.BFLOAT16, np.dtype(ml_dtypes.bfloat16)),
    "fp16": (formats.FLOAT16, np.dtype(np.float16)),
}


@loop
def decode(codes, x, kind):
    return formats.widened(codes, x, kind)


@loop
def encode(y, codes, kind):
    near = np.empty(len(y), np.float32)
    for j in range(len(y)):
        near[j] = formats.rounded(y[j], codes, kind)
    formats.stored(near, codes, kind)


@pytest.mark.parametrize("format", KINDS)
def test_every_code_is_read_and_written(format):
    kind, dtype = KINDS[format]
    codes = np.arange(2**16, dtype=np.uint16)
    exact = codes.view(dtype).astype(np.float32)
    x = decode(codes, np.empty(2**16, np.float32), kind)
    assert np.array_equal(x.view(np.uint32), exact.view(np.uint32))
    finite = codes[np.isfinite(exact)]
    back = np.empty_like(finite)
    encode(exact[np.isfinite(exact)].astype(np.float64), back, kind)
    assert np.array_equal(back, finite)


@pytest.mark.parametrize("format", KINDS)
def test_numbers_are_rounded_once_ties_to_even(format):
    kind, dtype = KINDS[format]
    rng = np.random.default_rng(1)
    codes = np.arange(2**16, dtype=np.uint16)
    values = codes.view(dtype).astype(np.float32)
    values = np.sort(values[np.isfinite(values)]).astype(np.float64)
    ties = (values[1:] + values[:-1]) / 2
    wild = rng.standard_normal(50_000) * 2.0 ** rng.uniform(-160, 140, 50_000)
    y = np.concatenate([ties, ties * (1 + 2.0**-50), ties * (1 - 2.0**-50), wild, [0.0, -0.0, 1e39, -1e39]])
    found = np.empty(len(y), np.uint16)
    encode(y, found, kind)
    with np.errstate(over="ignore"):
        expected = round_to(y, format).astype(np.float32).astype(dtype).view(np.uint16)
    assert np.array_equal(found, expected)
