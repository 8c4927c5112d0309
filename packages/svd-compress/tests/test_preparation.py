"""Losses that are judged on text the factors were not made from."""

import numpy as np
import pytest

from checkpoint_lens import load_model
from checkpoint_lens.windows import windows
from mfi_command import BadInput
from svd_compress.gradients import Moments
from svd_compress.preparation import held_out_losses, prepare
from svd_compress.whitening import whitened_factors

CONTEXT = 64


def moment(rng, size, samples):
    x = rng.standard_normal((samples, size)) * np.exp(-0.1 * np.arange(size))
    return x.T @ x / samples


@pytest.mark.parametrize(("m", "n"), [(7, 12), (12, 7), (9, 9)])
def test_losses_are_those_of_the_truncated_matrices(m, n):
    rng = np.random.default_rng(m * n)
    W = rng.standard_normal((m, n))
    seen, judge = (Moments(moment(rng, n, 40), moment(rng, m, 40)) for _ in range(2))
    factors = whitened_factors(W, seen.inputs, output_gram=seen.gradients, floor=0.0)
    losses = held_out_losses(factors, judge)
    assert len(losses) == min(m, n) + 1
    for k, loss in enumerate(losses):
        left_out = W - factors.left[:, :k] @ factors.right[:k]
        expected = np.trace(judge.gradients @ left_out @ judge.inputs @ left_out.T) / 2
        assert loss == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_judged_by_their_own_moments_they_are_the_tail():
    rng = np.random.default_rng(3)
    seen = Moments(moment(rng, 12, 40), moment(rng, 8, 40))
    factors = whitened_factors(
        rng.standard_normal((8, 12)), seen.inputs, output_gram=seen.gradients, floor=0.0
    )
    np.testing.assert_allclose(held_out_losses(factors, seen), factors.tail() / 2, rtol=1e-9, atol=1e-12)


def test_few_tokens_look_harmless_only_to_themselves():
    """With fewer tokens than columns there is a rank that loses nothing on them, and much on others."""
    rng = np.random.default_rng(4)
    W, tokens = rng.standard_normal((32, 32)), 10
    few, others = (
        Moments((x := rng.standard_normal((tokens, 32))).T @ x / tokens, np.eye(32)) for _ in range(2)
    )
    factors = whitened_factors(W, few.inputs, output_gram=few.gradients)
    assert factors.tail()[tokens] / 2 < 1e-3 * held_out_losses(factors, others)[tokens]


def test_every_other_window_judges(tiny, texts):
    model = load_model(tiny, dtype="float64")
    parts = windows(model, texts["calibration"].read_text(), context=CONTEXT, max_tokens=6 * CONTEXT)
    names = list(model.linear_layers())[:3]
    ticks = []
    judged = prepare(model, parts, names, held_out=True, on_progress=lambda *at: ticks.append(at))
    alone = prepare(model, parts[::2], names)
    for name in names:
        np.testing.assert_array_equal(judged[name].factors.energies, alone[name].factors.energies)
        assert judged[name].losses[8] > alone[name].losses[8]
    assert ticks == [(done, 9) for done in range(1, 10)]


def test_one_window_cannot_judge(tiny, texts):
    model = load_model(tiny)
    parts = windows(model, texts["calibration"].read_text(), context=CONTEXT, max_tokens=CONTEXT)
    with pytest.raises(BadInput, match="two are needed"):
        prepare(model, parts, list(model.linear_layers())[:1], held_out=True)
