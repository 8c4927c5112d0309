"""Simulated sums against numpy's scalars of the format and against rational arithmetic."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfi_command import BadInput
from stable_ops.fp import accumulate, get_format, predict_sum_error, round_to, ulp
from stable_ops.fp.accumulate import exact_sum

ORDERS = ["sequential", "pairwise", "kahan", "blocked"]


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
    ("order", "accumulator"), [("pairwise", None), ("kahan", None), ("sequential", "fp32")]
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
    assert accumulate(x, format="fp16", order="blocked", block=block).sum == float(tree(lanes))


@given(st.integers(0, 2**32), st.sampled_from(ORDERS), st.sampled_from(["fp16", "bf16", "fp32"]))
def test_stays_within_the_a_priori_bound(seed, order, name):
    n = 64
    x = round_to(draw(seed, n), name)
    u = get_format(name).eps / 2
    steps = {"sequential": n - 1, "pairwise": 6, "blocked": 64 / 8 + 3, "kahan": 2 + n * n * u}[order]
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
    ],
)
def test_bad_input(values, options, message):
    with pytest.raises(BadInput, match=message):
        accumulate(values, **options)
