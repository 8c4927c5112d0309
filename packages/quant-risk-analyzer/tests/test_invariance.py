"""The same function, stored in another way, gets the same risks and grades: no data, same draws."""

import copy

import pytest
import torch
from torch import nn

from quant_risk_analyzer import Thresholds, rate
from quant_risk_analyzer.sites import linear_sites

WIDTH, HEADS, KV = 16, 4, 2


class Conv1D(nn.Module):
    """GPT-2's layer: the weight is (in, out). transformers has the same class with the same fields."""

    def __init__(self, out, into):
        super().__init__()
        self.nf = out
        self.weight = nn.Parameter(torch.empty(into, out))

    def forward(self, x):
        return x @ self.weight


class Attention(nn.Module):
    def __init__(self, fused):
        super().__init__()
        size = WIDTH // HEADS
        self.sizes = [WIDTH, KV * size, KV * size]
        if fused:
            self.qkv_proj = nn.Linear(WIDTH, sum(self.sizes), bias=False)
        else:
            for name, out in zip("qkv", self.sizes, strict=True):
                setattr(self, f"{name}_proj", nn.Linear(WIDTH, out, bias=False))
        self.o_proj = nn.Linear(WIDTH, WIDTH, bias=False)
        self.fused = fused

    def forward(self, x):
        if self.fused:
            parts = self.qkv_proj(x).split(self.sizes, -1)
        else:
            parts = [getattr(self, f"{name}_proj")(x) for name in "qkv"]
        q, k, v = (part.unflatten(-1, (-1, WIDTH // HEADS)).transpose(1, 2) for part in parts)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.o_proj(mixed.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self, conv1d):
        super().__init__()
        if conv1d:
            self.c_fc, self.c_proj = Conv1D(3 * WIDTH, WIDTH), Conv1D(WIDTH, 3 * WIDTH)
        else:
            self.c_fc = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
            self.c_proj = nn.Linear(3 * WIDTH, WIDTH, bias=False)

    def forward(self, x):
        return self.c_proj(nn.functional.relu(self.c_fc(x)))


class Model(nn.Module):
    vocab_size = 61

    def __init__(self, *, fused=False, conv1d=False, blocks=3):
        super().__init__()
        self.config = {"num_attention_heads": HEADS, "num_key_value_heads": KV}
        self.embedding = nn.Embedding(61, WIDTH)
        self.norms = nn.ParameterList(torch.ones(WIDTH) for _ in range(2 * blocks))
        self.attn = nn.ModuleList(Attention(fused) for _ in range(blocks))
        self.mlp = nn.ModuleList(Mlp(conv1d) for _ in range(blocks))

    def forward(self, ids):
        x = self.embedding(ids)
        for at, (attn, mlp) in enumerate(zip(self.attn, self.mlp, strict=True)):
            x = x + attn(nn.functional.rms_norm(x, (WIDTH,)) * self.norms[2 * at])
            x = x + mlp(nn.functional.rms_norm(x, (WIDTH,)) * self.norms[2 * at + 1])
        return nn.functional.rms_norm(x, (WIDTH,)) @ self.embedding.weight.T

    def linear_layers(self):
        return {name: each for name, each in self.named_modules() if isinstance(each, nn.Linear)}


@pytest.fixture
def plain():
    torch.manual_seed(0)
    model = Model().double().eval()
    with torch.no_grad():
        for layer in model.linear_layers().values():
            layer.weight.normal_(0, 1.5 * layer.in_features**-0.5)
    return model


def filled(other, plain, weights):
    """`other` with the parameters of `plain` where the names agree, and `weights` where they do not."""
    state = {name: value for name, value in plain.state_dict().items() if name in other.state_dict()}
    other.double().eval().load_state_dict({**state, **weights})
    return other


def ratings(model, limits=None):
    report = rate(
        model, formats="int4,fp8,int3", tokens=256, context=16, thresholds=limits, layers="*", probes=2
    )
    return {
        layer.name: [(each.rating, each.risk) for each in layer.formats.values()] for layer in report.layers
    }


def same(first, second):
    """In the order of the model: grades equal, risks equal to the noise of float64 sums."""
    assert len(first) == len(second) > 0
    for before, after in zip(first, second, strict=True):
        assert [grade for grade, _ in before] == [grade for grade, _ in after]
        for (_, risk), (_, other) in zip(before, after, strict=True):
            assert other == pytest.approx(risk, rel=1e-5)


@pytest.fixture
def limits(plain):
    """Limits that give all three grades, each between two risks so that no rounding moves a grade."""
    risks = sorted(risk for each in ratings(plain).values() for _, risk in each)
    third = len(risks) // 3
    found = Thresholds(*((risks[at - 1] * risks[at]) ** 0.5 for at in (third, 2 * third)))
    assert {grade for each in ratings(plain, found).values() for grade, _ in each} == {"A", "B", "C"}
    return found


def test_a_layer_rescaled_against_its_norm(plain, limits):
    """A power of two shifts exponents only; fp8 with a scale of its own and integers round the same."""
    other = copy.deepcopy(plain)
    with torch.no_grad():
        other.norms[1] /= 64
        other.mlp[0].c_fc.weight *= 64
        other.norms[2] *= 8
        for name in "qkv":
            getattr(other.attn[1], f"{name}_proj").weight /= 8
    same(ratings(plain, limits).values(), ratings(other, limits).values())


def test_permuted_channels(plain, limits):
    """Hidden units of a feed-forward layer, and the channels of the whole residual stream."""
    other = copy.deepcopy(plain)
    order = torch.randperm(3 * WIDTH, generator=torch.Generator().manual_seed(1))
    stream = torch.randperm(WIDTH, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        mlp = other.mlp[1]
        mlp.c_fc.weight.copy_(mlp.c_fc.weight[order])
        mlp.c_proj.weight.copy_(mlp.c_proj.weight[:, order])
        other.embedding.weight.copy_(other.embedding.weight[:, stream])
        for attn, each in zip(other.attn, other.mlp, strict=True):
            for layer in (attn.q_proj, attn.k_proj, attn.v_proj, each.c_fc):
                layer.weight.copy_(layer.weight[:, stream])
            for layer in (attn.o_proj, each.c_proj):
                layer.weight.copy_(layer.weight[stream])
    same(ratings(plain, limits).values(), ratings(other, limits).values())


def test_conv1d_and_linear(plain, limits):
    turned = {
        name: value.T
        for name, value in plain.state_dict().items()
        if name.startswith("mlp") and name.endswith("weight")
    }
    other = filled(Model(conv1d=True), plain, turned)
    first, second = ratings(plain, limits), ratings(other, limits)
    assert first.keys() == second.keys()
    same([first[name] for name in first], [second[name] for name in first])


def test_fused_and_split_qkv(plain, limits):
    fused = {
        f"attn.{at}.qkv_proj.weight": torch.cat(
            [getattr(attn, f"{name}_proj").weight.detach() for name in "qkv"]
        )
        for at, attn in enumerate(plain.attn)
    }
    other = filled(Model(fused=True), plain, fused)
    first = ratings(plain, limits)
    second = {
        name.replace("qkv_proj.", "").replace("_proj", ""): each
        for name, each in ratings(other, limits).items()
    }
    same(first.values(), [second[name.replace("_proj", "")] for name in first])
    sites = linear_sites(other)
    assert [(site.role, site.shape) for site in sites.values()][:3] == [
        ("q", (16, 16)),
        ("k", (8, 16)),
        ("v", (8, 16)),
    ]
    assert sites["attn.0.qkv_proj.k"].module_name == "attn.0.qkv_proj"


def test_renamed_layers(plain, limits):
    other = copy.deepcopy(plain)
    for mlp in other.mlp:
        mlp.first, mlp.second = mlp.c_fc, mlp.c_proj
        del mlp.c_fc, mlp.c_proj
        mlp.forward = lambda x, mlp=mlp: mlp.second(nn.functional.relu(mlp.first(x)))
    same(ratings(plain, limits).values(), ratings(other, limits).values())


def test_tied_weights_are_rated_once_and_measured_in_both_places(plain):
    plain.mlp[2].c_fc.weight = plain.mlp[0].c_fc.weight
    sites = linear_sites(plain)
    assert [name for name in sites if "c_fc" in name] == ["mlp.0.c_fc", "mlp.1.c_fc"]
    with sites["mlp.0.c_fc"].holding(torch.zeros(3 * WIDTH, WIDTH)):
        assert not plain.mlp[2].c_fc.weight.any()
    assert plain.mlp[2].c_fc.weight.any()
    assert len(ratings(plain)) == 17


def test_what_is_not_rated_is_said(plain):
    assert rate(plain, formats="int8", tokens=64, context=16).unrated == {}
    plain.experts = nn.Parameter(torch.zeros(3, 4, 5))
    report = rate(plain, formats="int8", tokens=64, context=16)
    assert report.unrated == {"experts": 60}
    assert "Not rated: 60 parameters in 1 tensors" in report.summary["text"]
