"""Constants and values of each format against ml_dtypes and numpy, which were written by others."""

import numpy as np
import pytest

from mfi_command import BadInput
from stable_ops.fp import FORMATS, Format, get_format, read_formats

ml_dtypes = pytest.importorskip("ml_dtypes")

DTYPES = {
    "fp64": np.float64,
    "fp32": np.float32,
    "fp16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "fp8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "fp8_e5m2": ml_dtypes.float8_e5m2,
    "fp8_e4m3ieee": ml_dtypes.float8_e4m3,
    "fp8_e3m4": ml_dtypes.float8_e3m4,
    "fp8_e4m3fnuz": ml_dtypes.float8_e4m3fnuz,
    "fp8_e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
    "fp8_e4m3b11fnuz": ml_dtypes.float8_e4m3b11fnuz,
    "fp6_e2m3": ml_dtypes.float6_e2m3fn,
    "fp6_e3m2": ml_dtypes.float6_e3m2fn,
    "fp4_e2m1": ml_dtypes.float4_e2m1fn,
    "e8m0fnu": ml_dtypes.float8_e8m0fnu,
}
GFLOAT = {
    "fp64": "binary64",
    "fp32": "binary32",
    "fp16": "binary16",
    "bf16": "bfloat16",
    "fp8_e4m3fn": "ocp_e4m3",
    "fp8_e5m2": "ocp_e5m2",
    "fp6_e2m3": "ocp_e2m3",
    "fp6_e3m2": "ocp_e3m2",
    "fp4_e2m1": "ocp_e2m1",
    "e8m0fnu": "ocp_e8m0",
}


def test_every_format_has_a_judge():
    # tf32 is no storage format; it is float32 less 13 bits, which a test below says.
    assert set(DTYPES) == set(FORMATS) - {"tf32"}


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
    if get_format(name).bits < 8:  # stored in the low bits of a byte
        theirs = np.arange(2 ** get_format(name).bits, dtype=np.uint8).view(dtype).astype(np.float64)
    else:
        code = np.dtype(f"u{dtype.itemsize}")
        with np.errstate(invalid="ignore"):  # signalling NaNs
            theirs = np.arange(2 ** (8 * dtype.itemsize)).astype(code).view(dtype).astype(np.float64)
    np.testing.assert_array_equal(get_format(name).values(), np.unique(theirs[np.isfinite(theirs)]))


@pytest.mark.parametrize("name", GFLOAT)
def test_constants_and_values_of_gfloat(name):
    formats = pytest.importorskip("gfloat.formats")
    theirs, ours = getattr(formats, f"format_info_{GFLOAT[name]}"), get_format(name)
    assert (ours.bits, ours.bias) == (theirs.k, theirs.bias)
    assert (ours.eps, ours.max) == (theirs.eps, theirs.max)
    if name != "e8m0fnu":  # theirs has no smallest normal number there
        assert (ours.min_normal, ours.min_subnormal) == (theirs.smallest_normal, theirs.smallest_subnormal)
    if ours.bits <= 8:
        from gfloat import decode_float

        values = np.array([decode_float(theirs, code).fval for code in range(2**ours.bits)])
        np.testing.assert_array_equal(ours.values(), np.unique(values[np.isfinite(values)]))


def test_tf32_is_float32_without_its_last_13_bits():
    values = get_format("tf32").values()
    codes = (np.arange(2**31, step=2**13, dtype=np.int64)).astype(np.uint32).view(np.float32)
    finite = codes[np.isfinite(codes)].astype(np.float64)
    np.testing.assert_array_equal(values, np.concatenate([-finite[:0:-1], finite]))


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("float16", "fp16"),
        ("torch.bfloat16", "bf16"),
        ("FP8-E4M3FN", "fp8_e4m3fn"),
        ("e5m2", "fp8_e5m2"),
        ("e4m3", "fp8_e4m3fn"),
        ("float8_e4m3", "fp8_e4m3ieee"),
        ("torch.float8_e4m3fnuz", "fp8_e4m3fnuz"),
        ("e4m3b11fnuz", "fp8_e4m3b11fnuz"),
        ("e2m1fn", "fp4_e2m1"),
        ("float6_e3m2fn", "fp6_e3m2"),
        ("float8_e8m0fnu", "e8m0fnu"),
    ],
)
def test_other_names(name, same):
    assert get_format(name) is FORMATS[same]


@pytest.mark.parametrize(
    ("spec", "same"),
    [
        ("e5m10", "fp16"),
        ("e8m7ieee", "bf16"),
        ("e8m23", "fp32"),
        ("e4m3b11fnuz", "fp8_e4m3b11fnuz"),
        ("e3m2finite", "fp6_e3m2"),
    ],
)
def test_bits_as_text(spec, same):
    ours, known = get_format(spec).to_dict(), FORMATS[same].to_dict()
    assert {**ours, "format": ""} == {**known, "format": ""}


def test_a_bias_moves_the_range():
    plain, moved = get_format("e4m3ieee"), get_format("e4m3b9")
    assert moved.max == plain.max / 4
    assert moved.min_subnormal == plain.min_subnormal / 4


def test_formats_of_a_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[one]\nexponent_bits = 5\nmantissa_bits = 3\n")
    assert get_format(str(path)) == Format("one", 5, 3)
    path.write_text(
        path.read_text()
        + '[two]\nexponent_bits = 4\nmantissa_bits = 3\nspecials = "fnuz"\nexponent_bias = 11\n'
    )
    assert read_formats(path)["two"] == Format("two", 4, 3, "fnuz", 11)
    assert get_format(f"{path}:two").max == FORMATS["fp8_e4m3b11fnuz"].max
    with pytest.raises(BadInput, match="one, two"):
        get_format(str(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "defines no format"),
        ("[a", "no TOML"),
        ("[a]\nexponent_bits = 4\n", "give exponent_bits"),
        ("a = 3\n", "give exponent_bits"),
        ("[a]\nexponent_bits = 4\nmantissa_bits = 3\nbias = 1\n", "give exponent_bits"),
        ("[a]\nexponent_bits = 4.5\nmantissa_bits = 3\n", "whole numbers"),
        ("[a]\nexponent_bits = true\nmantissa_bits = 3\n", "whole numbers"),
        ("[a]\nexponent_bits = 99999999999999999999\nmantissa_bits = 3\n", "2 to 11"),
        ('[a]\nexponent_bits = 4\nmantissa_bits = 3\nspecials = "new"\n', "new"),
    ],
)
def test_a_file_that_is_wrong(text, message, tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(BadInput, match=message):
        get_format(str(path))


@pytest.mark.parametrize("spec", ["e1m3", "e12m3", "e5m53", "e11m52fn", "e5m0", "e10m10b5000", "e5m3b-4"])
def test_impossible_bits(spec):
    with pytest.raises(BadInput, match=r"e\d+m"):
        get_format(spec)


def test_an_unknown_name_lists_the_known():
    with pytest.raises(BadInput, match=r"fp17.*fp16"):
        get_format("fp17")


def test_values_of_a_wide_format_are_refused():
    with pytest.raises(BadInput, match="fp32"):
        get_format("fp32").values()
