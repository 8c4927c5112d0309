"""Experts in one tensor against the same experts as modules of their own, which run on every token."""

import numpy as np
import pytest
import torch
from torch import nn

from quant_risk_analyzer import measure, rate
from quant_risk_analyzer.formats import formats_named
from quant_risk_analyzer.gauss_newton import score_products
from quant_risk_analyzer.quantizers import rounded
from quant_risk_analyzer.risk import errors_of
from quant_risk_analyzer.sites import linear_sites, unrated

WIDTH, INNER, EXPERTS, WORDS = 8, 12, 3, 31


def routed(x, router):
    """Each token's two experts with their shares: (tokens, experts), zero for the others."""
    top, where = torch.softmax(x @ router, -1).topk(2, -1)
    return torch.zeros(len(x), EXPERTS, dtype=x.dtype).scatter(1, where, top)


class Stacked(nn.Module):
    """One tensor for all experts; each sees its own tokens only."""

    def __init__(self, gate_up, down, *, transposed, interleaved):
        super().__init__()
        if interleaved:
            gate_up = gate_up.reshape(EXPERTS, 2, INNER, WIDTH).transpose(1, 2).reshape(gate_up.shape)
        turn = (lambda w: w.transpose(1, 2).contiguous()) if transposed else torch.clone
        self.gate_up_proj, self.down_proj = nn.Parameter(turn(gate_up)), nn.Parameter(turn(down))
        self.is_transposed, self.interleaved = transposed, interleaved

    def forward(self, x, shares):
        out = torch.zeros_like(x)
        turn = (lambda w: w) if self.is_transposed else (lambda w: w.T)
        for expert in range(EXPERTS):
            at = shares[:, expert].nonzero()[:, 0]
            both = x[at] @ turn(self.gate_up_proj[expert])
            pair = (both[:, ::2], both[:, 1::2]) if self.interleaved else both.chunk(2, -1)
            moved = (torch.nn.functional.silu(pair[0]) * pair[1]) @ turn(self.down_proj[expert])
            out = out.index_add(0, at, moved * shares[at, expert, None])
        return out


class Apart(nn.Module):
    """The same experts as linear modules that run on every token."""

    def __init__(self, gate_up, down):
        super().__init__()
        for expert in range(EXPERTS):
            gate, up = gate_up[expert].chunk(2)
            for name, weight in {"gate": gate, "up": up, "down": down[expert]}.items():
                linear = nn.Linear(*weight.T.shape, bias=False, dtype=weight.dtype)
                linear.weight = nn.Parameter(weight.clone())
                setattr(self, f"{name}{expert}", linear)

    def forward(self, x, shares):
        parts = []
        for expert in range(EXPERTS):
            gate, up, down = (getattr(self, f"{name}{expert}") for name in ("gate", "up", "down"))
            parts.append(down(torch.nn.functional.silu(gate(x)) * up(x)) * shares[..., expert, None])
        return sum(parts)


class Mixture(nn.Module):
    vocab_size = WORDS

    def __init__(self, experts, flat, model_type):
        super().__init__()
        torch.manual_seed(3)
        self.embedding = nn.Embedding(WORDS, WIDTH, dtype=torch.float64)
        self.router, self.experts, self.flat = torch.randn(WIDTH, EXPERTS).double(), experts, flat
        self.config = {"model_type": model_type, "hidden_size": WIDTH}

    def forward(self, ids):
        x = self.embedding(ids)
        rows = x.reshape(-1, WIDTH)
        shares = routed(rows, self.router)
        moved = self.experts(rows, shares) if self.flat else self.experts(x, shares.reshape(*ids.shape, -1))
        return (x + moved.reshape(x.shape)) @ self.embedding.weight.T

    def linear_layers(self):
        return {name: each for name, each in self.named_modules() if isinstance(each, nn.Linear)}


@pytest.fixture(params=[("mixtral", False, False), ("llama4", True, False), ("gpt_oss", True, True)])
def pair(request):
    kind, transposed, interleaved = request.param
    torch.manual_seed(1)
    weights = torch.randn(EXPERTS, 2 * INNER, WIDTH).double(), torch.randn(EXPERTS, WIDTH, INNER).double()
    stacked = Stacked(*weights, transposed=transposed, interleaved=interleaved)
    return Mixture(stacked, True, kind).eval(), Mixture(Apart(*weights), False, kind).eval()


NAMES = {
    f"experts.{expert}.{'down_proj' if part == 'down' else f'gate_up_proj.{part}'}": f"experts.{part}{expert}"
    for expert in range(EXPERTS)
    for part in ("gate", "up", "down")
}


def test_scores_and_grades_are_those_of_experts_apart(pair):
    stacked, apart = pair
    ids = torch.randint(0, WORDS, (5, 7))
    torch.testing.assert_close(stacked(ids), apart(ids))
    found, expected = (_products(model, ids) for model in pair)
    assert set(found) == set(NAMES)
    for name, other in NAMES.items():
        np.testing.assert_allclose(found[name].scores, expected[other].scores, rtol=1e-5, atol=1e-9)
        np.testing.assert_allclose(found[name].channels, expected[other].channels, rtol=1e-5, atol=1e-9)
    reports = [rate(model, formats="int3", tokens=256, rounds=1) for model in pair]
    risks = [report.risks("int3") for report in reports]
    for name, other in NAMES.items():
        assert risks[0][name] == pytest.approx(risks[1][other], rel=1e-5)
    assert not unrated(stacked)


def _products(model, ids):
    sites, kinds = linear_sites(model), formats_named(("int4", "int2"))
    return score_products(
        model, ids, lambda name: errors_of(sites[name].weight, kinds, "channel").double(), sites, probes=2
    )


def test_one_expert_is_quantized_and_given_back(pair):
    stacked = pair[0]
    for model in pair:
        model.tokenizer = _Words()
    before = [parameter.clone() for parameter in stacked.parameters()]
    found, expected = (measure(model, "x" * 200, formats="int3", context=20).kl("int3") for model in pair)
    for name, other in NAMES.items():
        assert found[name] == pytest.approx(expected[other], rel=1e-6)
    assert all(torch.equal(*both) for both in zip(before, stacked.parameters(), strict=True))
    site = linear_sites(stacked)["experts.1.down_proj"]
    value = rounded(site.weight, formats_named("int3")[0], "channel")
    with site.holding(value):
        assert torch.equal(site.weight, value)


class _Words:
    def encode(self, text):
        return torch.randint(0, WORDS, (len(text),), generator=torch.Generator().manual_seed(2)).tolist()


def test_experts_of_transformers_are_rated():
    transformers = pytest.importorskip("transformers")
    foreign = pytest.importorskip("checkpoint_lens.foreign")
    config = transformers.MixtralConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        num_local_experts=3,
        vocab_size=WORDS,
    )
    torch.manual_seed(0)
    inner = transformers.MixtralForCausalLM(config).eval()
    model = foreign.ForeignLM(inner, config=config.to_dict(), tokenizer=_Words)
    report = rate(model, formats="int4", tokens=128)
    risks = report.risks("int4")
    experts = [name for name in risks if ".experts." in name]
    assert len(experts) == 9
    assert all(risks[name] > 0 for name in experts)
    assert set(report.unrated) == {"model.layers.0.mlp.gate.weight"}  # the router
