"""Patched models of transformers on a GPU: the kernels compute, with the bits of the CPU."""

import importlib.util
from pathlib import Path

import pytest

import stable_ops
from mfi_command import BadInput
from stable_ops.drop_in import patch

torch = pytest.importorskip("torch")
pytest.importorskip("triton")
pytest.importorskip("transformers")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

SPEC = importlib.util.spec_from_file_location("tiny", Path(__file__).parents[1] / "drop_in" / "tiny.py")
tiny = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tiny)

FAMILIES = ("Llama", "OPT", "Gemma", "Gemma2", "Gemma3", "Qwen3", "GPT2")
DTYPES = (torch.bfloat16, torch.float16, torch.float32)


def watched(model, patched):
    """Inputs and outputs of the replaced norms and activations in one run."""
    modules, seen = dict(model.named_modules()), {}
    handles = [
        modules[item.where].register_forward_hook(
            lambda _, arguments, result, where=item.where: seen.update({where: (arguments[0], result)})
        )
        for item in patched.report.replaced
        if item.op not in ("softmax", "swiglu")
    ]
    model(tiny.tokens(device="cuda"))
    for handle in handles:
        handle.remove()
    assert seen
    return seen


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@torch.no_grad()
def test_logits_and_undo(family, dtype):
    model, x = tiny.build(family, dtype=dtype, device="cuda"), tiny.tokens(device="cuda")
    before = model(x).logits
    with patch(model) as patched:
        during = model(x).logits
    assert {item.op for item in patched.report.replaced} >= {"softmax"}
    assert torch.equal(model(x).logits, before)
    largest = before.abs().max()
    assert (during - before).abs().max() < largest * (1e-5 if dtype == torch.float32 else 0.1)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@torch.no_grad()
def test_patched_modules_have_the_bits_of_the_cpu_and_of_any_batch(family, dtype):
    model, host = tiny.build(family, dtype=dtype, device="cuda"), tiny.build(family, dtype=dtype)
    modules, on_host = dict(model.named_modules()), dict(host.named_modules())
    with patch(model) as patched, patch(host):
        for where, (x, y) in watched(model, patched).items():
            assert torch.equal(modules[where](x[:1]), y[:1]), where
            assert torch.equal(on_host[where](x.cpu()), y.cpu()), where


@pytest.mark.parametrize("family", ["Llama", "Gemma"])
@pytest.mark.parametrize(("dtype", "share"), [(torch.float16, 1 / 5_000), (torch.bfloat16, 1 / 15_000)])
@torch.no_grad()
def test_norms_have_the_bits_of_transformers_but_near_ties(family, dtype, share):
    from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    norm = {"Llama": LlamaRMSNorm, "Gemma": GemmaRMSNorm}[family](4096).to("cuda", dtype)
    generator = torch.Generator("cuda").manual_seed(0)
    norm.weight += 0.3 * torch.randn(4096, generator=generator, device="cuda").to(dtype)
    x = (3 * torch.randn(4096, 4096, generator=generator, device="cuda")).to(dtype)
    before = norm(x)
    with patch(norm) as patched:
        other = (norm(x) != before).double().mean()
    assert patched.report.replaced[0].op == {"Llama": "rms_norm, hf", "Gemma": "rms_norm, gemma"}[family]
    print(f"{family} {dtype}: {other:.2e} of the elements differ")
    assert other < share


@torch.no_grad()
def test_attention_softmax_is_ours():
    model, x = tiny.build("Llama", dtype=torch.float16, device="cuda"), tiny.tokens(device="cuda")
    scores = 3 * torch.randn(2, 4, 17, 17, generator=torch.Generator().manual_seed(0))
    with patch(model, norms=False, activations=False):
        shares = model(x, output_attentions=True).attentions
    assert len(shares) == 2
    total = shares[0].float().sum(-1)
    assert ((total - 1).abs() < 17 * 2.0**-11).all()
    on_gpu, on_cpu = stable_ops.softmax(scores.half().cuda()).cpu(), stable_ops.softmax(scores.half())
    assert (on_gpu != on_cpu).float().mean() < 1e-3


def test_gradients_are_refused_or_fall_back():
    model, x = tiny.build("Llama", device="cuda"), tiny.tokens(device="cuda")
    with patch(model), pytest.raises(BadInput, match="gradient"):
        model(x)
    with patch(model, fallback=True):
        model(x, labels=x).loss.backward()
    assert all(p.grad is not None for p in model.parameters())
