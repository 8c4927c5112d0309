"""patch knows modules by their code and by what they compute; anything else is left."""

import pytest

from stable_ops.drop_in import patch

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402


class Renamed(nn.Module):
    """Looks like a norm; takes the root before the mean."""

    def __init__(self):
        super().__init__()
        self.weight, self.variance_epsilon = nn.Parameter(torch.ones(8)), 1e-6

    def forward(self, hidden_states):
        return self.weight * hidden_states / hidden_states.abs().mean(-1, keepdim=True)


class LlamaRMSNorm(Renamed):
    """Has the name of a known norm, and not its code."""


class WideNorm(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x) * 2


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (Renamed(), "no norm, softmax or activation"),
        (LlamaRMSNorm(), "none of the known ones"),
        (WideNorm(8), "none of the known ones"),
        (nn.LayerNorm((2, 8)), "more than one axis"),
        (nn.RMSNorm(8), "eps"),
        (nn.RMSNorm((2, 8), eps=1e-6), "more than one axis"),
        (nn.Softmax(), "axis"),
        (nn.LogSoftmax(), "axis"),
        (nn.SiLU(inplace=True), "argument"),
        (nn.ReLU(), "no norm, softmax or activation"),
    ],
)
def test_what_is_not_known_is_left(module, reason):
    model = nn.Sequential(module)
    with patch(model) as patched:
        assert "forward" not in vars(module)
    assert patched.report.replaced == ()
    assert [item.where for item in patched.report.left] == ["0"]
    assert reason in patched.report.left[0].reason


def test_names_alone_do_not_make_a_norm_of_transformers(tiny):
    with patch(nn.Sequential(LlamaRMSNorm())) as patched:
        assert patched.report.replaced == ()


def test_a_copy_of_the_code_counts_and_one_changed_operation_does_not(tiny):
    from transformers.models.llama.modeling_llama import LlamaRMSNorm as Theirs

    from stable_ops.drop_in.code import same_code

    source = """
import torch
def forward(self, hidden_states):
    input_dtype = hidden_states.dtype
    hidden_states = hidden_states.to(torch.float32)
    variance = hidden_states.pow({power}).mean(-1, keepdim=True)
    hidden_states = hidden_states * torch.{root}(variance + self.{eps})
    return {result}
"""
    two = "self.weight * hidden_states.to(input_dtype)"
    one = "(self.weight * hidden_states).to(input_dtype)"
    same = {"power": 2, "root": "rsqrt", "eps": "variance_epsilon", "result": two}
    for change in ({}, {"power": 3}, {"root": "sqrt"}, {"eps": "epsilon"}, {"result": one}):
        namespace = {}
        exec(source.format(**{**same, **change}), namespace)
        assert same_code(namespace["forward"], Theirs.forward) == (not change), change
    namespace = {}
    exec(source.format(**same).replace("import torch", "import numpy as torch"), namespace)
    assert not same_code(namespace["forward"], Theirs.forward)


class Doubled(nn.Module):
    """What a later version might make of LlamaRMSNorm."""

    def __init__(self, size, eps=1e-6):
        super().__init__()
        self.weight, self.variance_epsilon = nn.Parameter(torch.ones(size)), eps

    def forward(self, hidden_states):
        mean_square = hidden_states.square().mean(-1, keepdim=True)
        return 2 * self.weight * hidden_states * torch.rsqrt(mean_square + self.variance_epsilon)


class LoudSiLU(nn.Module):
    def forward(self, x):
        return 1.001 * nn.functional.silu(x)


def loud_attention(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
    shares = torch.softmax(1.001 * query @ key.transpose(2, 3) * scaling, -1)
    return (shares @ value).transpose(1, 2).contiguous(), shares


def loud_mlp(self, x):
    return self.down_proj(self.act_fn(1.001 * self.gate_proj(x)) * self.up_proj(x))


def test_a_version_that_computes_something_else_is_left(tiny, monkeypatch):
    """The known one itself has changed: copies share its code, and running it shows the difference."""
    from transformers import activations
    from transformers.models.llama import modeling_llama

    monkeypatch.setattr(modeling_llama, "LlamaRMSNorm", Doubled)
    monkeypatch.setattr(activations, "GELUActivation", LoudSiLU)
    with patch(nn.Sequential(Doubled(8), LoudSiLU())) as patched:
        assert patched.report.replaced == ()
    model = tiny.build("Llama")
    monkeypatch.setattr(modeling_llama, "eager_attention_forward", loud_attention)
    monkeypatch.setattr(modeling_llama.LlamaMLP, "forward", loud_mlp)
    with patch(model) as patched:
        assert {item.op for item in patched.report.replaced} == {"silu"}
