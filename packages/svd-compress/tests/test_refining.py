"""Refinement fits what the layers really get; healing lowers the loss; only factors change."""

import math

import numpy as np
import pytest
import torch

from checkpoint_lens import load_model
from svd_compress import compress, sequential
from svd_compress.comparing import compare
from svd_compress.compression import Means, open_bench, realised
from svd_compress.evaluation import losses
from svd_compress.knapsack import Bounds, solve
from svd_compress.sequential import can_refine, refine

SMALL = {"context": 64, "calibration_tokens": 1536}


@pytest.fixture
def bench(tiny, texts):
    both = tuple(texts[key].read_text() for key in ("calibration", "evaluate"))
    made = open_bench(tiny, both, both[1][:900], layer="*", layout="two", context=64, tokens=(1536, 512))
    made.prepare(multiple=8, min_saving=0.0, seed=0, keep_gradients=True)
    return made


def plan_of(bench, keep):
    return solve(bench.options, Bounds(parameters=keep * bench.plans[0].parameters))


def test_refined_factors_come_nearer_to_the_dense_model_on_the_calibration_text(bench):
    """The outputs that the refinement fits: hidden states of the calibration windows after the last block."""
    plan = plan_of(bench, 0.6)

    def states():
        ids = [torch.from_numpy(w.ids)[None] for w in bench.texts.fit]
        with torch.inference_mode():
            return torch.cat([bench.model.model(i) for i in ids], 1)

    dense = states()
    errors = []
    for factors in (bench.factors(plan), bench.refined(plan)):
        with bench.exchanged(factors):
            errors.append(float((states() - dense).norm()))
    assert errors[1] < errors[0]
    assert {name: pair.rank for name, pair in bench.refined(plan).items()} == {
        name: rank for name, rank in plan.ranks.items() if rank
    }


def test_at_full_rank_refinement_gives_back_the_layer(bench):
    """Nothing was lost before the first layer, and nothing has to be made up for."""
    name = "model.layers.0.self_attn.q_proj"
    found = {}
    refine(
        bench.model,
        bench.texts.fit,
        {name: 48},
        {name: bench.prepared[name].gradients},
        lambda name, factors: found.update({name: factors}),
        floor=1e-6,
    )
    product = found[name].left @ found[name].right
    weight = bench.dense[name].weight.double()
    assert (product - weight).norm() < 1e-4 * weight.norm()


class Half(torch.nn.Module):
    """The second half of a block: what `sequential` asks of one, and nothing else."""

    def __init__(self, W):
        super().__init__()
        self.post_attention_layernorm = torch.nn.Identity()
        self.mlp = torch.nn.Module()
        self.mlp.down_proj = torch.nn.Linear(*W.T.shape, bias=False)
        self.mlp.down_proj.weight.data = W

    def forward(self, state, cos, sin):
        return state + self.mlp.down_proj(torch.tanh(self.post_attention_layernorm(state)))


@pytest.mark.parametrize("weighted", [True, False])
def test_a_token_that_was_blown_up_and_lost_is_not_put_into_all_others(weighted, monkeypatch):
    """Many models make the first token's stream a thousand times as large; a cut may lose that."""
    part = "mlp.down_proj"
    if not weighted:
        monkeypatch.setattr(sequential, "_weights", lambda part, reference, i: torch.ones(200, 1))
    rng = torch.Generator().manual_seed(0)
    W = torch.randn(16, 16, generator=rng, dtype=torch.float64) / 4
    block = Half(W)
    state = torch.randn(1, 200, 16, generator=rng, dtype=torch.float64)
    blown_up = state.clone()
    blown_up[0, 0] += 1000.0
    y = torch.tanh(state) @ W.T
    reference = sequential._Reference({part: [y]}, [blown_up], [blown_up], [blown_up + y], {part: W})
    stream = sequential._Stream([state], torch.zeros(200), torch.zeros(200))
    moments = sequential._moments(block, stream, reference, (part,), 1.0)
    target = sequential._pulled(moments, part, W, sequential.RIDGE)
    others = torch.tanh(state)[0, 1:]
    error = float((others @ (target - W).T).norm() / y[0, 1:].norm())
    assert error < 0.1 if weighted else error > 1.0


def test_the_model_is_left_as_it_was(bench):
    ids = torch.arange(40)[None]
    before = bench.model(ids)
    bench.refined(plan_of(bench, 0.7))
    bench.healed(bench.factors(plan_of(bench, 0.7)), minutes=1.0, steps=2, seed=0)
    assert torch.equal(bench.model(ids), before)
    assert not any(p.requires_grad for p in bench.model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in bench.model.modules())
    assert can_refine(bench.model)


@pytest.mark.parametrize("layout", ["two", "pivoted"])
def test_healing_lowers_the_loss_and_moves_only_factors(bench, layout):
    bench.layout = layout
    factors = bench.factors(plan_of(bench, 0.6))
    before = bench.measure(factors, bench.texts.fit, "before").loss
    healed = bench.healed(factors, minutes=1.0, steps=12, learning_rate=1e-3, seed=0)
    assert bench.measure(healed, bench.texts.fit, "after").loss < before
    for name, pair in healed.items():
        assert pair.left.shape == factors[name].left.shape
        assert pair.left.dtype == factors[name].left.dtype
        assert not torch.equal(pair.left, factors[name].left)
        if layout == "pivoted":
            assert pair.pivots.shape == factors[name].pivots.shape


def test_compress_says_what_it_did(tiny, texts):
    result = compress(tiny, **texts, keep=0.7, refine=True, heal_minutes=0.001, **SMALL)
    assert result.healed_minutes in (0.0, 0.001)
    assert isinstance(result.refined, bool)
    assert math.isfinite(result.rise)


@pytest.mark.parametrize("better", [True, False])
def test_what_was_trained_or_fitted_again_is_kept_only_where_it_measures_better(bench, monkeypatch, better):
    plan = plan_of(bench, 0.7)
    two = [bench.factors(plan_of(bench, keep)) for keep in (0.8, 0.4)]
    two.sort(key=lambda factors: bench.measure(factors, bench.texts.search, "").loss, reverse=better)
    first, other = two
    monkeypatch.setattr(bench, "factors", lambda plan: first)
    monkeypatch.setattr(bench, "refined", lambda plan: first)
    monkeypatch.setattr(bench, "healed", lambda factors, **_: other)
    proof = realised(bench, plan, Means(refine=True, heal_minutes=2.0))
    # What is as good as what there was is no better.
    assert not proof.refined
    assert proof.healed_minutes == (2.0 if better else 0.0)
    assert (proof.factors is other) == better


def test_the_methods_stand_beside_each_other(bench, tmp_path, monkeypatch):
    rows = compare(bench, [0.8, 0.6], refine=True, work=tmp_path)
    seen = {(row.method, row.layout, row.keep) for row in rows}
    assert len(rows) == len(seen) == 2 * (3 + 2 * 2)
    assert {row.method for row in rows} == {
        "plain SVD", "ASVD scaling", "SVD-LLM whitening", "ours", "ours, refined",
    }  # fmt: skip
    dense = losses(load_model(bench.checkpoint.path), bench.texts.judge).perplexity
    for row in rows:
        assert row.kept <= row.keep
        assert row.in_domain.before == pytest.approx(dense)
        assert np.isfinite([row.in_domain.after, row.other_domain.after]).all()
    # What was measured is not measured again, nor anything fitted again.
    monkeypatch.setattr(bench, "measure", lambda *_: pytest.fail("measured twice"))
    monkeypatch.setattr(bench, "refined", lambda *_: pytest.fail("fitted twice"))
    told = []
    assert compare(bench, [0.8, 0.6], refine=True, work=tmp_path, on_row=told.append) == rows
    assert sorted(map(str, told)) == sorted(map(str, rows))
