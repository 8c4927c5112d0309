"""Simulated sums against numpy's scalars of the format and against rational arithmetic."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfi_command import BadInput
from stable_ops.fp import accumulate, accumulate_dot, get_format, predict_sum_error, round_to, ulp
from stable_ops.fp.accumulate import exact_sum

ORDERS = ["sequential", "pairwise", "kahan", "neumaier", "blocked"]


def draw(seed: int, n: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.ldexp(rng.standard_normal(n), rng.integers(-6, 3, n))


def test_the_sum_that_stagnates():
    result = accumulate([1e-4] * 10_000, format="fp16")
    assert result.sum == 0.25
    # At 0.25 half the distance to the next number, 1.22e-4, is more than the value.
    assert result.stagnated_at is not None
    assert accumulate([1e-4] * result.stagnated_at, format="fp16").sum == 0.25
    assert accumulate([1e-4] * (result.stagnated_at - 1), format="fp16").sum < 0.25


@pytest.mark.parametrize(
    ("order", "accumulator"),
    [("pairwise", None), ("kahan", None), ("sequential", "fp32"), ("blocked", "fp32")],
)
def test_ways_that_recover(order, accumulator):
    result = accumulate([1e-4] * 10_000, format="fp16", order=order, accumulator=accumulator)
    exact = 10_000 * float(np.float16(1e-4))
    assert result.exact == exact
    assert abs(result.sum - exact) <= ulp(exact, "fp16")
    assert result.stagnated_at is None


@given(st.integers(0, 2**32), st.integers(0, 200), st.sampled_from(["fp16", "fp32"]))
def test_sequential_is_numpys_scalar_addition(seed, n, name):
    scalar = {"fp16": np.float16, "fp32": np.float32}[name]
    x = draw(seed, n)
    total = scalar(0)
    for value in x:
        total = scalar(total + scalar(value))
    assert accumulate(x, format=name).sum == float(total)


@given(st.integers(0, 2**32), st.integers(0, 100))
def test_kahan_is_numpys_scalar_recurrence(seed, n):
    x = draw(seed, n).astype(np.float16)
    total = lost = np.float16(0)
    for value in x:
        corrected = value - lost
        new = total + corrected
        lost = (new - total) - corrected
        total = new
    assert accumulate(x, format="fp16", order="kahan").sum == float(total)


@given(st.integers(0, 2**32), st.integers(1, 70), st.integers(1, 9))
def test_pairwise_and_blocked_are_their_recursions(seed, n, block):
    def tree(v):
        while len(v) > 1:
            pairs = [v[i] + v[i + 1] for i in range(0, len(v) - 1, 2)]
            v = pairs + v[len(pairs) * 2 :]
        return v[0]

    x = list(draw(seed, n).astype(np.float16))
    assert accumulate(x, format="fp16", order="pairwise").sum == float(tree(x))
    lanes = [np.float16(0)] * block
    for i, value in enumerate(x):
        lanes[i % block] += value
    lanes += [np.float16(0)] * (1 << (block - 1).bit_length()) if block > 1 else []
    width = 1 << (block - 1).bit_length()
    while width > 1:  # __shfl_down_sync with offsets of half the width
        width //= 2
        lanes = [lanes[i] + lanes[i + width] for i in range(width)]
    assert accumulate(x, format="fp16", order="blocked", block=block).sum == float(lanes[0])


@given(st.integers(0, 2**32), st.sampled_from(ORDERS), st.sampled_from(["fp16", "bf16", "fp32"]))
def test_stays_within_the_a_priori_bound(seed, order, name):
    n = 64
    x = round_to(draw(seed, n), name)
    u = get_format(name).eps / 2
    steps = {"sequential": n - 1, "pairwise": 6, "blocked": 64 / 8 + 3}.get(order, 2 + n * n * u)
    result = accumulate(x, format=name, order=order, block=8)
    assert abs(result.sum - result.exact) <= 1.1 * steps * u * np.abs(x).sum()


@given(st.integers(0, 2**32), st.integers(0, 300))
def test_exact_sum_is_that_of_fractions(seed, n):
    rng = np.random.default_rng(seed)
    x = np.ldexp(rng.standard_normal(n), rng.integers(-1070, 900, n))
    assert exact_sum(x) == sum((Fraction(float(v)) for v in x), Fraction(0))


@pytest.mark.parametrize("order", ["sequential", "pairwise"])
def test_the_predicted_error_is_the_measured_one_within_a_bit(order):
    rng = np.random.default_rng(5)
    rows = 1.0 + rng.random((200, 256))
    errors = [accumulate(r, format="fp16", order=order).sum - r.sum() for r in rows]
    measured = float(np.sqrt(np.mean(np.square(errors))))
    predicted = predict_sum_error(rows[0], format="fp16", order=order)
    assert 0.5 < predicted / measured < 2


@given(st.integers(0, 2**32), st.integers(0, 100))
def test_neumaier_is_numpys_scalar_recurrence(seed, n):
    x = draw(seed, n).astype(np.float16)
    total = lost = np.float16(0)
    for value in x:
        new = total + value
        lost += (total - new) + value if abs(total) >= abs(value) else (value - new) + total
        total = new
    assert accumulate(x, format="fp16", order="neumaier").sum == float(total + lost)


def test_neumaier_bears_what_kahan_does_not():
    x = [1.0, 1e4, 1.0, -1e4]
    assert accumulate(x, format="fp8_e5m2", order="kahan").sum == 0
    x = [1.0, 2.0**20, 1.0, -(2.0**20)]
    assert accumulate(x, format="bf16", order="kahan").sum != 2
    assert accumulate(x, format="bf16", order="neumaier").sum == 2


def test_neumaiers_second_sum_stagnates_where_nu_is_above_one():
    exact = 10_000 * float(np.float16(1e-4))
    assert accumulate([1e-4] * 10_000, format="fp16", order="neumaier").sum < 0.75 * exact
    short = accumulate([1e-4] * 1000, format="fp16", order="neumaier")
    assert short.stagnated_at is None
    assert short.relative_error < 1000**2 * 2.0**-22 / 10


def toward_zero(x: Fraction, name: str) -> Fraction:
    """The definition, in rational arithmetic."""
    format = get_format(name)
    exponent = format.min_exponent
    while abs(x) >= Fraction(2) ** (exponent + 1):
        exponent += 1
    unit = Fraction(2) ** (exponent - format.mantissa_bits)
    return unit * (abs(x) // unit) * (1 if x > 0 else -1)


@given(st.integers(0, 2**32), st.sampled_from(["fp16", "bf16", "fp32", "fp8_e5m2"]))
def test_toward_zero_sums_are_rational_ones(seed, name):
    """Magnitudes far apart: float64 itself would round the sum to the border."""
    rng = np.random.default_rng(seed)
    x = round_to(np.ldexp(rng.standard_normal(12), rng.integers(-14, 12, 12)), name)
    total = Fraction(0)
    for value in x:
        total = toward_zero(total + Fraction(float(value)), name)
    assert accumulate(x, format=name, rounding="toward-zero").sum == total


def test_toward_zero_where_float64_rounds_to_the_border():
    # 1 - 2^-100 is 1 in float64; toward zero it is the number below one.
    result = accumulate([1.0, -(2.0**-100)], format="bf16", rounding="toward-zero")
    assert result.sum == 1 - 2.0**-8
    assert accumulate([1.0, -(2.0**-100)], format="bf16").sum == 1


def test_stochastic_sums_do_not_stagnate_and_are_unbiased():
    sums = [accumulate([1e-4] * 10_000, format="fp16", rounding="stochastic", seed=s).sum for s in range(12)]
    exact = 10_000 * float(np.float16(1e-4))
    assert len(set(sums)) > 3
    assert all(abs(s - exact) < 0.1 for s in sums)
    error = np.std(sums, ddof=1) / np.sqrt(len(sums))
    assert abs(np.mean(sums) - exact) < 4 * error + 1e-6
    assert accumulate([1e-4] * 100, rounding="stochastic", seed=1) == accumulate(
        [1e-4] * 100, rounding="stochastic", seed=1
    )


def test_where_a_blocked_sum_stagnates():
    # In bf16 a lane of ones stops at 256, so four lanes have read 1024 values then.
    result = accumulate(np.ones(4096), format="bf16", order="blocked", block=4)
    assert result.sum == 1024
    assert result.stagnated_at == 4 * 256
    assert accumulate(np.ones(1024), format="bf16", order="blocked", block=4).stagnated_at is None
    # A lane that is out of values has not stagnated.
    assert accumulate([1.0, 0, 1.0, 0, 1.0, 0], format="fp16", order="blocked", block=2).stagnated_at is None


@given(st.integers(0, 2**32), st.integers(0, 60), st.booleans())
def test_dot_is_the_recursion_of_rationals(seed, n, fused):
    """Products exact or rounded, then each addition rounded to float32, by Fraction or by numpy."""
    x, y = draw(seed, n).astype(np.float32), draw(seed + 1, n).astype(np.float32)
    total = np.float32(0)
    for a, b in zip(x, y, strict=True):
        if fused:
            exact = Fraction(float(total)) + Fraction(float(a)) * Fraction(float(b))
            total = np.float32(nearest_float32(exact))
        else:
            total = total + a * b
    result = accumulate_dot(x, y, format="fp32", fused=fused)
    assert result.sum == float(total)
    exact = sum((Fraction(float(a)) * Fraction(float(b)) for a, b in zip(x, y, strict=True)), Fraction(0))
    assert result.exact == float(exact)


def nearest_float32(x: Fraction) -> float:
    if x == 0:
        return 0.0
    unit = Fraction(2) ** (int(np.floor(np.log2(float(abs(x))))) - 24)
    while abs(x) >= unit * 2**24:
        unit *= 2
    while abs(x) < unit * 2**23:
        unit /= 2
    return float(round(x / unit) * unit)


def test_dot_stagnates_too():
    ones = np.ones(4096)
    result = accumulate_dot(ones, ones, format="bf16")
    assert (result.sum, result.stagnated_at) == (256.0, 256)
    assert accumulate_dot(ones, ones, format="bf16", accumulator="fp32").sum == 4096


def test_predicted_overflow():
    assert predict_sum_error([60_000.0, 60_000.0], format="fp16") == np.inf


def test_overflow_and_cancellation():
    assert accumulate([60_000.0, 60_000.0], format="fp16").relative_error == np.inf
    assert accumulate([1.0, -1.0], format="fp16").relative_error == 0.0
    assert accumulate([2048.0, 1.0, -2048.0, -1.0], format="fp16").relative_error == np.inf
    assert accumulate([1e308] * 3, format="fp64").exact == np.inf
    assert accumulate([], format="fp16").sum == 0.0


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([[1.0]], {}, "1-D"),
        ([np.nan], {}, "finite"),
        ([1.0], {"order": "random"}, "sequential"),
        ([1.0], {"order": "blocked", "block": 0}, "block"),
        ([1.0], {"format": "int8"}, "int8"),
        (["a"], {}, "numbers"),
        ([1.0], {"rounding": "up"}, "toward-zero"),
        ([1.0], {"rounding": "stochastic"}, "seed"),
        ([1.0], {"rounding": "toward-zero", "accumulator": "fp64"}, "nearest only"),
        ([1.0], {"accumulator": "e11m40"}, "mantissa"),
        ([1.0], {"format": "e8m0fnu"}, "no zero"),
    ],
)
def test_bad_input(values, options, message):
    with pytest.raises(BadInput, match=message):
        accumulate(values, **options)


def test_dot_bad_input():
    with pytest.raises(BadInput, match="one length"):
        accumulate_dot([1.0], [1.0, 2.0])
    with pytest.raises(BadInput, match="not exact"):
        accumulate_dot([1.0], [1.0], format="fp64")
    with pytest.raises(BadInput, match="finite"):
        accumulate_dot([1.0], [np.inf])
