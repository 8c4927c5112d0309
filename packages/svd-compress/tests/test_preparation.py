"""Losses that are judged on text the factors were not made from."""

import numpy as np
import pytest
import torch

from checkpoint_lens import load_model
from checkpoint_lens.windows import windows
from mfi_command import BadInput
from svd_compress.factoring import factor
from svd_compress.gradients import Moments
from svd_compress.preparation import held_out_losses, prepare

CONTEXT = 64


def moment(rng, size, samples):
    x = rng.standard_normal((samples, size)) * np.exp(-0.1 * np.arange(size))
    return torch.from_numpy(x.T @ x / samples)


def moments(rng, m, n):
    return Moments(moment(rng, n, 40), moment(rng, m, 40), torch.ones(n))


@pytest.mark.parametrize(("m", "n"), [(7, 12), (12, 7), (9, 9)])
def test_losses_are_those_of_the_truncated_matrices(m, n):
    rng = np.random.default_rng(m * n)
    W = rng.standard_normal((m, n))
    seen, judge = (moments(rng, m, n) for _ in range(2))
    factors = factor(torch.from_numpy(W), seen.inputs, seen.gradients, floor=0.0)
    losses = held_out_losses(factors, judge)
    assert len(losses) == min(m, n) + 1
    for k, loss in enumerate(losses):
        left_out = torch.from_numpy(W) - factors.left[:, :k] @ factors.right[:k]
        expected = float(torch.trace(judge.gradients @ left_out @ judge.inputs @ left_out.T)) / 2
        assert loss == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_judged_by_their_own_moments_they_are_the_tail():
    rng = np.random.default_rng(3)
    seen = moments(rng, 8, 12)
    factors = factor(torch.from_numpy(rng.standard_normal((8, 12))), seen.inputs, seen.gradients, floor=0.0)
    np.testing.assert_allclose(held_out_losses(factors, seen), factors.tail() / 2, rtol=1e-9, atol=1e-10)


def test_few_tokens_look_harmless_only_to_themselves():
    """With fewer tokens than columns there is a rank that loses nothing on them, and much on others."""
    rng = np.random.default_rng(4)
    W, tokens = rng.standard_normal((32, 32)), 10
    few, others = (
        Moments(
            torch.from_numpy((x := rng.standard_normal((tokens, 32))).T @ x / tokens),
            torch.eye(32),
            torch.ones(32),
        )
        for _ in range(2)
    )
    factors = factor(torch.from_numpy(W), few.inputs, few.gradients, floor=1e-8)
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
    assert ticks[-1] == (3, 3)


def test_one_window_cannot_judge(tiny, texts):
    model = load_model(tiny)
    parts = windows(model, texts["calibration"].read_text(), context=CONTEXT, max_tokens=CONTEXT)
    with pytest.raises(BadInput, match="two are needed"):
        prepare(model, parts, list(model.linear_layers())[:1], held_out=True)
