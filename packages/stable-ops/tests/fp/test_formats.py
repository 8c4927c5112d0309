"""Constants and values of each format against ml_dtypes and numpy, which were written by others."""

import numpy as np
import pytest

from mfi_command import BadInput
from stable_ops.fp import FORMATS, get_format

ml_dtypes = pytest.importorskip("ml_dtypes")

DTYPES = {
    "fp64": np.float64,
    "fp32": np.float32,
    "fp16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "fp8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "fp8_e5m2": ml_dtypes.float8_e5m2,
    "fp4_e2m1": ml_dtypes.float4_e2m1fn,
}


def test_every_format_has_a_judge():
    assert set(DTYPES) == set(FORMATS)


@pytest.mark.parametrize("name", DTYPES)
def test_constants(name):
    ours, theirs = get_format(name), ml_dtypes.finfo(DTYPES[name])
    assert ours.bits == theirs.bits
    assert ours.eps == float(theirs.eps)
    assert ours.max == float(theirs.max)
    assert ours.min_normal == float(theirs.smallest_normal)
    assert ours.min_subnormal == float(theirs.smallest_subnormal)


def test_machine_epsilon_of_fp16_is_two_to_the_minus_ten():
    assert get_format("fp16").eps == 2**-10 == 9.765625e-4


@pytest.mark.parametrize("name", [n for n in DTYPES if n not in ("fp64", "fp32")])
def test_every_value(name):
    dtype = np.dtype(DTYPES[name])
    if name == "fp4_e2m1":  # four bits stored in a byte
        theirs = np.arange(16, dtype=np.uint8).view(dtype).astype(np.float64)
    else:
        code = np.dtype(f"u{dtype.itemsize}")
        with np.errstate(invalid="ignore"):  # signalling NaNs
            theirs = np.arange(2 ** (8 * dtype.itemsize)).astype(code).view(dtype).astype(np.float64)
    np.testing.assert_array_equal(get_format(name).values(), np.unique(theirs[np.isfinite(theirs)]))


@pytest.mark.parametrize("name", ["float16", "torch.bfloat16", "FP8-E4M3FN", "e5m2"])
def test_other_names(name):
    assert get_format(name) in FORMATS.values()


def test_an_unknown_name_lists_the_known():
    with pytest.raises(BadInput, match=r"fp17.*fp16"):
        get_format("fp17")


def test_values_of_a_wide_format_are_refused():
    with pytest.raises(BadInput, match="fp32"):
        get_format("fp32").values()
