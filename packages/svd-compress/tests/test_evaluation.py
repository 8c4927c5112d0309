"""Losses against the sister package; the interval by its coverage and against a bootstrap."""

import math

import numpy as np
import pytest

from checkpoint_lens import load_model, perplexity
from mfi_command import BadInput
from svd_compress.evaluation import Losses, losses, paired_rise
from svd_compress.texts import spread_windows


def test_perplexity_is_the_sister_packages(tiny, texts):
    model, text = load_model(tiny), texts["evaluate"].read_text()
    ours = losses(model, spread_windows(model, text, context=64, max_tokens=None))
    theirs = perplexity(model, text, context=64)
    assert ours.tokens.sum() == theirs.tokens
    assert ours.perplexity == pytest.approx(theirs.perplexity, rel=1e-12)


def draw(rng, windows):
    """Windows that are hard or easy for both models; the second is worse by 0.05 nats, give or take."""
    tokens = np.full(windows, 255.0)
    hard = rng.normal(3.0, 0.5, windows)
    worse = rng.normal(0.05, 0.03, windows)
    return Losses(hard * tokens, tokens), Losses((hard + worse) * tokens, tokens)


def test_the_interval_covers_the_true_rise_as_often_as_it_says():
    rng = np.random.default_rng(0)
    true = math.exp(3.05) - math.exp(3.0)  # loss is a mean over windows; perplexity its exponential
    hits = sum(rise.low <= true <= rise.high for rise in (paired_rise(*draw(rng, 40)) for _ in range(2000)))
    # 0.95 give or take five standard errors and what linearising costs.
    assert 0.92 <= hits / 2000 <= 0.975


def test_pairing_makes_it_narrow():
    before, after = draw(np.random.default_rng(1), 40)
    rise = paired_rise(before, after)
    scatter = np.std(after.sums / after.tokens) * after.perplexity
    assert (rise.high - rise.low) / 2 < 0.3 * 1.96 * scatter / math.sqrt(40) * math.sqrt(2)


def test_the_interval_agrees_with_a_bootstrap_of_uneven_windows():
    rng = np.random.default_rng(2)
    tokens = rng.integers(20, 256, 60).astype(float)
    hard = rng.normal(3, 0.4, 60)
    before = Losses(hard * tokens, tokens)
    after = Losses((hard + rng.normal(0.1, 0.05, 60)) * tokens, tokens)
    rise = paired_rise(before, after)
    picks = rng.integers(0, 60, (4000, 60))
    drawn = [
        math.exp(after.sums[p].sum() / tokens[p].sum()) - math.exp(before.sums[p].sum() / tokens[p].sum())
        for p in picks
    ]
    assert (rise.high - rise.low) / 4 == pytest.approx(np.std(drawn), rel=0.15)


def test_one_window_proves_nothing():
    one = Losses(np.array([700.0]), np.array([255.0]))
    rise = paired_rise(one, one)
    assert (rise.rise, rise.low, rise.high) == (0.0, -math.inf, math.inf)


def test_different_windows_are_refused():
    with pytest.raises(BadInput, match="different windows"):
        paired_rise(Losses(np.ones(2), np.array([5.0, 6.0])), Losses(np.ones(2), np.array([6.0, 5.0])))
