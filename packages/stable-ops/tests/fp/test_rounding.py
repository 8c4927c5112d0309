"""Rounding against rational arithmetic, ml_dtypes and numpy."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfi_command import BadInput
from stable_ops.fp import FORMATS, get_format, round_to, ulp

SMALL = [name for name, f in FORMATS.items() if f.bits <= 16]
SIGNED = [name for name in SMALL if FORMATS[name].specials != "fnu"]
WITH_ZEROS = [name for name in SIGNED if FORMATS[name].specials != "fnuz"]


def nearest(x: float, name: str) -> float:
    """The definition: among all values the one nearest in rational arithmetic, ties to the even code."""
    values = FORMATS[name].values()
    i = int(np.clip(np.searchsorted(values, x), 1, values.size - 1))
    low, high = float(values[i - 1]), float(values[i])
    below, above = Fraction(x) - Fraction(low), Fraction(high) - Fraction(x)
    if below != above:
        return low if below < above else high
    if FORMATS[name].mantissa_bits == 0:  # the even code is that of the even exponent
        return low if (np.frexp(low)[1] - 1 + FORMATS[name].bias) % 2 == 0 else high
    step = Fraction(ulp(min(abs(low), abs(high)), name))
    return low if (abs(Fraction(low)) / step) % 2 == 0 else high


@given(st.sampled_from(SMALL), st.integers(0, 2**32), st.sampled_from(["near", "tie", "past tie", "wide"]))
def test_is_the_nearest_value(name, seed, kind):
    rng = np.random.default_rng(seed)
    values = FORMATS[name].values()
    i = rng.integers(values.size - 1, size=50)
    x = (values[i] + values[i + 1]) / 2
    if kind == "near":
        x = values[i] + (values[i + 1] - values[i]) * rng.random(50)
    elif kind == "past tie":
        x = np.nextafter(x, rng.choice([-np.inf, np.inf], 50))
    elif kind == "wide":
        x = np.clip(np.ldexp(rng.standard_normal(50), rng.integers(-40, 16, 50)), values[0], values[-1])
    expected = [nearest(float(v), name) for v in x]
    np.testing.assert_array_equal(round_to(x, name), expected)
    np.testing.assert_array_equal([round_to(float(v), name) for v in x], expected)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("rounding", ["nearest", "toward-zero", "stochastic"])
def test_values_stay(name, rounding):
    values = FORMATS[name].values()
    np.testing.assert_array_equal(round_to(values, name, rounding=rounding, seed=0), values)


@pytest.mark.parametrize("name", WITH_ZEROS)
def test_zeros_keep_their_sign(name):
    assert np.signbit(round_to(np.array([-0.0, -1e-300]), name)).all()
    assert np.signbit(round_to(-1e-300, name))


@pytest.mark.parametrize(
    ("name", "x", "expected"),
    [
        ("fp16", 65519.99, 65504.0),
        ("fp16", 65520.0, np.inf),  # the tie goes to the even neighbour, which is out of range
        ("fp16", -1e300, -np.inf),
        ("fp8_e5m2", 61440.0, np.inf),
        ("fp8_e4m3fn", 464.0, 448.0),
        ("fp8_e4m3fn", 464.01, np.nan),
        ("fp8_e4m3fn", -np.inf, np.nan),
        ("fp4_e2m1", -np.inf, -6.0),
        ("fp4_e2m1", 7.5, 6.0),
        ("bf16", np.nan, np.nan),
        ("fp8_e4m3fnuz", -1e9, np.nan),
        ("fp8_e5m2fnuz", 61439.9, 57344.0),
        ("fp6_e2m3", 1e9, 7.5),
        ("e8m0fnu", 1e-300, 2.0**-127),
        ("e8m0fnu", 0.0, np.nan),
        ("e8m0fnu", -1.0, np.nan),
        ("e8m0fnu", 3.0, 2.0),  # a tie: the code of 2, 128, is even
    ],
)
def test_overflow_follows_the_format(name, x, expected):
    np.testing.assert_array_equal(round_to(x, name), expected)
    np.testing.assert_array_equal(round_to(np.array([x]), name), [expected])


@pytest.mark.parametrize("x", [np.nan, np.array([1.0, np.nan])])
def test_nan_where_there_is_none(x):
    with pytest.raises(BadInput, match="fp4_e2m1 has no NaN"):
        round_to(x, "fp4_e2m1")


@given(st.integers(0, 2**32))
def test_agrees_with_the_casts_of_numpy(seed):
    rng = np.random.default_rng(seed)
    x = np.ldexp(rng.standard_normal(2000), rng.integers(-160, 130, 2000))
    with np.errstate(all="ignore"):
        for name, dtype in (("fp16", np.float16), ("fp32", np.float32), ("fp64", np.float64)):
            np.testing.assert_array_equal(round_to(x, name), x.astype(dtype).astype(np.float64))


def test_agrees_with_ml_dtypes_from_float32():
    """From float32 their cast rounds once; from float64 it rounds twice, see below."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    rng = np.random.default_rng(1)
    x = np.ldexp(rng.standard_normal(200_000), rng.integers(-140, 20, 200_000)).astype(np.float32)
    for name, dtype in (
        ("bf16", ml_dtypes.bfloat16),
        ("fp8_e4m3fn", ml_dtypes.float8_e4m3fn),
        ("fp8_e5m2", ml_dtypes.float8_e5m2),
        ("fp4_e2m1", ml_dtypes.float4_e2m1fn),
        ("fp6_e2m3", ml_dtypes.float6_e2m3fn),
        ("fp6_e3m2", ml_dtypes.float6_e3m2fn),
        ("fp8_e3m4", ml_dtypes.float8_e3m4),
        ("fp8_e4m3ieee", ml_dtypes.float8_e4m3),
        ("fp8_e4m3fnuz", ml_dtypes.float8_e4m3fnuz),
        ("fp8_e5m2fnuz", ml_dtypes.float8_e5m2fnuz),
        ("fp8_e4m3b11fnuz", ml_dtypes.float8_e4m3b11fnuz),
    ):
        np.testing.assert_array_equal(round_to(x, name), x.astype(dtype).astype(np.float32))


def neighbours(x, name):
    """The numbers of the format below and above (or at) each x within its range."""
    values = FORMATS[name].values()
    high = values[np.minimum(np.searchsorted(values, x), values.size - 1)]
    low = values[np.maximum(np.searchsorted(values, x, side="right") - 1, 0)]
    return low, high


def wide(name, seed, n):
    rng = np.random.default_rng(seed)
    format = FORMATS[name]
    exponents = rng.uniform(np.log2(format.min_subnormal) - 2, np.log2(format.max), n)
    return rng.choice([-1.0, 1.0], n) * 2.0**exponents


@given(st.sampled_from(SIGNED), st.integers(0, 2**32))
def test_toward_zero_is_the_neighbour_below_in_magnitude(name, seed):
    x = wide(name, seed, 200)
    low, high = neighbours(x, name)
    np.testing.assert_array_equal(round_to(x, name, rounding="toward-zero"), np.where(x > 0, low, high))


@given(st.sampled_from(SMALL), st.integers(0, 2**32), st.sampled_from(["toward-zero", "stochastic"]))
def test_one_number_is_rounded_as_an_array_is(name, seed, rounding):
    x = np.concatenate([np.abs(wide(name, seed, 50)), [0.0, FORMATS[name].max * 1.01, np.inf]])
    one = np.random.default_rng(seed)
    expected = round_to(x, name, rounding=rounding, seed=seed)
    np.testing.assert_array_equal(
        [round_to(float(v), name, rounding=rounding, seed=one) for v in x], expected
    )


@pytest.mark.parametrize("name", sorted(set(SIGNED) - set(WITH_ZEROS)))
@pytest.mark.parametrize("rounding", ["nearest", "toward-zero"])
def test_a_format_without_negative_zero_has_none(name, rounding):
    for x in (-0.0, -1e-300):
        assert not np.signbit(round_to(x, name, rounding=rounding))
        assert not np.signbit(round_to(np.array([x]), name, rounding=rounding)).any()


@pytest.mark.parametrize("name", WITH_ZEROS)
def test_toward_zero_ends_at_the_largest(name):
    largest = FORMATS[name].max
    assert round_to(-1e300, name, rounding="toward-zero") == -largest
    np.testing.assert_array_equal(round_to(np.inf, name, rounding="toward-zero"), FORMATS[name].overflow_to)


@given(st.sampled_from(SIGNED), st.integers(0, 2**32))
def test_stochastic_gives_the_two_neighbours_only(name, seed):
    x = wide(name, seed, 200)
    low, high = neighbours(x, name)
    y = round_to(x, name, rounding="stochastic", seed=seed)
    assert ((y == low) | (y == high)).all()


@pytest.mark.parametrize("name", ["fp16", "bf16", "fp8_e4m3fn", "fp6_e2m3", "fp4_e2m1"])
def test_stochastic_is_unbiased(name):
    """Each mean of 20,000 roundings within 5 standard errors; all of them together by a chi-square."""
    x, n = wide(name, 1, 40), 20_000
    low, high = neighbours(x, name)
    inexact = low != high
    low, high, x = low[inexact], high[inexact], x[inexact]
    p = (x - low) / (high - low)
    y = round_to(np.tile(x, (n, 1)), name, rounding="stochastic", seed=7)
    z = (np.mean(y == high, axis=0) - p) / np.sqrt(p * (1 - p) / n)
    assert x.size >= 30
    assert np.abs(z).max() < 5
    # The sum of squares of k standard normals is k with standard deviation sqrt(2 k).
    assert abs(np.sum(z**2) - z.size) < 5 * np.sqrt(2 * z.size)


def test_stochastic_repeats_with_its_seed_only():
    x = np.full(1000, 1.2)
    first, again, other = (round_to(x, "fp4_e2m1", rounding="stochastic", seed=s) for s in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    # Neighbours in the array are drawn independently.
    ups = (first == 1.5).astype(float)
    assert abs(np.corrcoef(ups[:-1], ups[1:])[0, 1]) < 0.15


def test_stochastic_between_the_largest_and_what_would_follow():
    y = round_to(np.full(4000, 464.0), "fp8_e4m3fn", rounding="stochastic", seed=0)
    assert abs(np.isnan(y).mean() - 0.5) < 0.05
    assert set(y[~np.isnan(y)]) == {448.0}


@pytest.mark.parametrize(
    ("options", "message"), [({"rounding": "up"}, "toward-zero"), ({"rounding": "stochastic"}, "seed")]
)
def test_bad_rounding(options, message):
    with pytest.raises(BadInput, match=message):
        round_to(1.5, "fp16", **options)


@pytest.mark.parametrize("rounding", ["nearest", "toward-zero"])
def test_agrees_with_gfloat(rounding):
    gfloat = pytest.importorskip("gfloat")
    from gfloat.formats import format_info_ocp_e2m3, format_info_ocp_e4m3, format_info_ocp_e5m2

    mode = {"nearest": gfloat.RoundMode.TiesToEven, "toward-zero": gfloat.RoundMode.TowardZero}[rounding]
    for name, theirs in (
        ("fp8_e4m3fn", format_info_ocp_e4m3),
        ("fp8_e5m2", format_info_ocp_e5m2),
        ("fp6_e2m3", format_info_ocp_e2m3),
    ):
        values = FORMATS[name].values()
        x = np.concatenate([wide(name, 5, 200), (values[:-1] + values[1:]) / 2])
        expected = [gfloat.round_float(theirs, float(v), mode) for v in x]
        np.testing.assert_array_equal(round_to(x, name, rounding=rounding), expected)


def test_one_rounding_where_two_differ():
    x = 1 + 2.0**-11 + 2.0**-40
    assert round_to(x, "fp16") == 1 + 2.0**-10
    assert np.float16(np.float32(x)) == 1.0


def test_dtype_and_library_stay():
    assert round_to(np.ones(2, np.float32), "bf16").dtype == np.float32
    assert round_to(np.ones(2, np.float16), "bf16").dtype == np.float64
    torch = pytest.importorskip("torch")
    x = torch.tensor([[1.001, 3.0]])
    assert round_to(x, "fp8_e4m3fn").tolist() == [[1.0, 3.0]]
    assert round_to(x, "fp8_e4m3fn").dtype == torch.float32


@pytest.mark.parametrize("name", SIGNED)
def test_ulp_is_the_distance_to_the_next_value(name):
    values = FORMATS[name].values()
    values = values[values >= 0]
    np.testing.assert_array_equal(ulp(values[:-1], name), np.diff(values))


def test_ulp_of_float32_and_float64_is_numpys_spacing():
    x = np.ldexp(np.random.default_rng(2).random(1000), np.arange(-500, 500))
    np.testing.assert_array_equal(ulp(x, "fp64"), np.spacing(x))
    y = np.ldexp(np.random.default_rng(3).random(200), np.arange(-145, 55)).astype(np.float32)
    np.testing.assert_array_equal(ulp(y, "fp32"), np.spacing(y))
    assert np.isnan(ulp(np.inf, get_format("fp16")))
