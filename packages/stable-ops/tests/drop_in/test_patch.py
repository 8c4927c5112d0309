"""patch: what it replaces, what it leaves, and that undo gives the bits back."""

import copy
import importlib
import importlib.util

import pytest

import stable_ops
from mfi_command import BadInput
from stable_ops.drop_in import patch

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

MIXED = nn.Sequential(
    nn.LayerNorm(16), nn.Linear(16, 16), nn.SiLU(), nn.RMSNorm(16, eps=1e-6), nn.Softmax(-1)
)


FAMILIES = ("Llama", "Mistral", "Qwen2", "Qwen3", "Olmo2", "OPT", "GPT2", "Gemma", "Gemma2", "Gemma3")
# What each layer of a family has, and what the model has once: the operators of the report, counted.
EXPECTED = {
    "Llama": {"rms_norm, hf": 5, "swiglu": 2, "softmax": 2},
    "Mistral": {"rms_norm, hf": 5, "swiglu": 2, "softmax": 2},
    "Qwen2": {"rms_norm, hf": 5, "swiglu": 2, "softmax": 2},
    "Qwen3": {"rms_norm, hf": 9, "swiglu": 2, "softmax": 2},
    "Olmo2": {"rms_norm, exact": 9, "swiglu": 2, "softmax": 2},
    "OPT": {"layer_norm": 5, "softmax": 2},
    "GPT2": {"layer_norm": 5, "gelu, tanh": 2, "softmax": 2},
    "Gemma": {"rms_norm, gemma": 5, "gelu, tanh": 2, "softmax": 2},
    "Gemma2": {"rms_norm, gemma": 9, "gelu, tanh": 2, "softmax": 2},
    "Gemma3": {"rms_norm, gemma": 13, "gelu, tanh": 2, "softmax": 2},
}


def transformers_attention():
    from transformers import AttentionInterface

    return AttentionInterface()


def operators_of(family):
    """Before 5.0 the eager attention of GPT-2 masked by itself, which none of ours does."""
    old = family == "GPT2" and int(importlib.import_module("transformers").__version__.split(".")[0]) < 5
    return {op: count for op, count in EXPECTED[family].items() if not (old and op == "softmax")}


def counted(report):
    found = {}
    for item in report.replaced:
        found[item.op] = found.get(item.op, 0) + 1
    return found


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_families_of_transformers(tiny, family):
    """Other float32 bits, close to the model's own; the same names; and the same bits after undo."""
    model, x = tiny.build(family), tiny.tokens()
    mask = torch.ones_like(x)
    mask[0, :5] = 0
    names, before = list(model.state_dict()), model(x, attention_mask=mask).logits
    with patch(model) as patched:
        assert counted(patched.report) == operators_of(family)
        assert list(model.state_dict()) == names
        during = model(x, attention_mask=mask).logits
    after = model(x, attention_mask=mask).logits
    assert torch.equal(after, before)
    assert not torch.equal(during, before), "nothing was computed differently"
    assert (during - before).abs().max() < 1e-5 * before.abs().max()


@pytest.mark.parametrize("family", ["Llama", "OPT", "Gemma2"])
@torch.no_grad()
def test_rows_have_the_same_bits_alone_as_in_a_batch(tiny, family):
    model = tiny.build(family, dtype=torch.bfloat16)
    seen = {}

    def watch(module, arguments, result):
        seen[id(module)] = torch.equal(module.forward(arguments[0][:1]), result[:1])

    with patch(model) as patched:
        modules = dict(model.named_modules())
        watched = [modules[r.where] for r in patched.report.replaced if r.op not in ("softmax", "swiglu")]
        handles = [module.register_forward_hook(watch) for module in watched]
        model(tiny.tokens())
        for handle in handles:
            handle.remove()
    assert len(seen) == len(watched) > 0
    assert all(seen.values())


@pytest.mark.parametrize("family", ["Llama", "OPT", "Gemma2", "GPT2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_attention_is_that_of_transformers_with_our_softmax(tiny, family, dtype):
    """Eager attention with the softmax exchanged under it gives the same bits."""
    if "softmax" not in operators_of(family):
        pytest.skip("this version's attention is left as it is")
    model = tiny.build(family, dtype=dtype)
    x = tiny.tokens()

    def rounded_once(scores, dim, dtype=None):
        return stable_ops.softmax(scores, axis=dim).to(dtype or scores.dtype)

    with pytest.MonkeyPatch.context() as context:
        context.setattr(nn.functional, "softmax", rounded_once)
        expected = model(x).logits
    with patch(model, norms=False, activations=False):
        assert torch.equal(model(x).logits, expected)
    # In bfloat16 their second rounding seldom matters.
    assert dtype == torch.bfloat16 or not torch.equal(model(x).logits, expected)


@torch.no_grad()
def test_modules_of_torch():
    model, x = copy.deepcopy(MIXED), torch.randn(5, 16, generator=torch.Generator().manual_seed(0))
    norm, linear, _, rms, _ = model
    with patch(model) as patched:
        h = linear(stable_ops.layer_norm(x, norm.weight, norm.bias, eps=norm.eps))
        h = stable_ops.rms_norm(stable_ops.silu(h), rms.weight, eps=rms.eps)
        assert torch.equal(model(x), stable_ops.softmax(h))
    assert counted(patched.report) == {"layer_norm": 1, "silu": 1, "rms_norm, exact": 1, "softmax": 1}
    assert [item.original for item in patched.report.left] == ["Linear"]


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("llama.modeling_llama:LlamaRMSNorm", "hf"),
        ("qwen3.modeling_qwen3:Qwen3RMSNorm", "hf"),
        ("gemma.modeling_gemma:GemmaRMSNorm", "gemma"),
        ("gemma3.modeling_gemma3:Gemma3RMSNorm", "gemma"),
        ("olmo2.modeling_olmo2:Olmo2RMSNorm", "exact"),
    ],
)
@torch.no_grad()
def test_norms_of_transformers_in_their_form_and_with_their_eps(tiny, path, form):
    file, name = path.split(":")
    norm = getattr(importlib.import_module(f"transformers.models.{file}"), name)(64, eps=0.3).bfloat16()
    generator = torch.Generator().manual_seed(0)
    norm.weight += 0.3 * torch.randn(64, generator=generator).bfloat16()
    x = torch.randn(512, 64, generator=generator).bfloat16()
    with patch(norm):
        y = norm(x)
    assert torch.equal(y, stable_ops.rms_norm(x, norm.weight, eps=0.3, form=form))
    assert (y - norm(x)).abs().max() < 0.1
    for other in {"hf", "gemma", "exact"} - {form}:
        assert not torch.equal(y, stable_ops.rms_norm(x, norm.weight, eps=0.3, form=other))


@torch.no_grad()
def test_no_dropout_outside_of_training(tiny):
    model = tiny.build("Llama")
    with patch(model):
        attend = transformers_attention()["stable_ops"]
        module, q = model.model.layers[0].self_attn, torch.randn(1, 4, 6, 12)
        options = {"scaling": 0.3, "dropout": 0.5}
        once, _ = attend(module, q, q[:, :2], q[:, :2], None, **options)
        again, _ = attend(module, q, q[:, :2], q[:, :2], None, **options)
        assert torch.equal(once, again)
        dropped, _ = attend(module.train(), q, q[:, :2], q[:, :2], None, **options)
        assert not torch.equal(dropped, once)


@pytest.mark.parametrize("keyword", ["norms", "activations", "softmax"])
def test_families_can_be_left_out(keyword):
    model = copy.deepcopy(MIXED)
    with patch(model, **{keyword: False}) as patched:
        family = {"norms": {"0", "3"}, "activations": {"2"}, "softmax": {"4"}}[keyword]
        assert {item.where for item in patched.report.left} == family | {"1"}


def test_a_gradient_is_refused_or_falls_back():
    model, x = copy.deepcopy(MIXED), torch.ones(2, 16)
    with patch(model), pytest.raises(BadInput, match=r"LayerNorm is patched.*gradient.*fallback=True"):
        model(x)
    expected = model(x)
    with patch(model, fallback=True):
        y = model(x)
        assert torch.equal(y, expected)
        y.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    frozen = copy.deepcopy(MIXED).requires_grad_(False)
    with patch(frozen):
        frozen(x)
        with pytest.raises(BadInput, match="gradient"):
            frozen(x.clone().requires_grad_())


def test_a_whole_model_falls_back_for_training(tiny):
    model = tiny.build("Llama").train()
    x = tiny.tokens()
    expected = model(x, labels=x).loss
    with patch(model, fallback=True):
        loss = model(x, labels=x).loss
        loss.backward()
    assert torch.equal(loss, expected)
    assert all(p.grad is not None for p in model.parameters())
    with patch(model), pytest.raises(BadInput, match="gradient"):
        model(x)


@torch.no_grad()
def test_other_dtypes_are_refused_or_fall_back(tiny):
    model = tiny.build("Llama", dtype=torch.bfloat16)
    model.model.norm.float()
    model.lm_head.float()
    x = tiny.tokens()
    before = model(x).logits
    with patch(model), pytest.raises(BadInput, match=r"weight is torch\.float32"):
        model(x)
    with patch(model, fallback=True):
        assert model(x).logits.dtype == torch.float32
    assert torch.equal(model(x).logits, before)
    layer = nn.Sequential(nn.LayerNorm(16))
    with patch(layer), torch.autocast("cpu", torch.bfloat16), pytest.raises(BadInput, match="autocast"):
        layer(torch.ones(2, 16))


@torch.no_grad()
def test_other_attention_functions_are_left_unless_asked_for(tiny):
    model, x = tiny.build("Llama", attention="sdpa"), tiny.tokens()
    before = model(x).logits
    with patch(model) as patched:
        reasons = {item.reason for item in patched.report.left if "Attention" in item.original}
        assert "sdpa" in "".join(reasons)
        assert model.config._attn_implementation == "sdpa"
    with patch(model, softmax=True) as patched:
        assert counted(patched.report)["softmax"] == 2
        assert torch.allclose(model(x).logits, before, atol=1e-4)
    assert model.config._attn_implementation == "sdpa"
    assert torch.equal(model(x).logits, before)


@torch.no_grad()
def test_a_second_patch_leaves_what_the_first_did(tiny):
    model, x = tiny.build("Gemma"), tiny.tokens()
    before = model(x).logits
    with patch(model):
        during = model(x).logits
        second = patch(model)
        assert second.report.replaced == ()
        second.undo()
        assert torch.equal(model(x).logits, during)
    second.undo()
    assert torch.equal(model(x).logits, before)


@torch.no_grad()
def test_a_copy_of_a_patched_model_uses_its_own_parameters():
    model, x = copy.deepcopy(MIXED), torch.randn(3, 16, generator=torch.Generator().manual_seed(2))
    with patch(model):
        other = copy.deepcopy(model)
        other[0].weight.zero_()
        other[0].bias.fill_(1.0)
        assert not torch.equal(other(x), model(x))


@torch.no_grad()
def test_generation_and_hooks_still_work(tiny):
    model, x = tiny.build("Qwen3"), tiny.tokens(1, 5)
    calls = []
    handle = model.model.norm.register_forward_hook(lambda *_: calls.append(1))
    options = {"max_new_tokens": 6, "do_sample": False}
    before = model.generate(x, **options)
    with patch(model):
        assert torch.equal(model.generate(x, **options), before)
    handle.remove()
    assert len(calls) == 12


def test_the_report_as_text_and_data():
    with patch(copy.deepcopy(MIXED)) as patched:
        text, data = str(patched.report), patched.report.to_dict()
    assert "1 x LayerNorm -> layer_norm" in text
    assert "1 x Linear left: no norm" in text
    assert data["replaced"][0] == {"where": "0", "original": "LayerNorm", "op": "layer_norm"}


@pytest.mark.parametrize("model", [None, "llama", nn.Linear])
def test_bad_input(model):
    with pytest.raises(BadInput, match=r"takes a torch\.nn\.Module"):
        patch(model)
