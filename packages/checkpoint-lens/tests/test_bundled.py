"""The bundled reference model and its texts."""

import json

import numpy as np
import pytest

from checkpoint_lens import (
    load_model,
    open_checkpoint,
    perplexity,
    read_text,
    reference_model,
    reference_path,
    reference_text,
)
from checkpoint_lens.bundled import TEXTS
from mfi_command import BadInput


@pytest.fixture(scope="module")
def model():
    pytest.importorskip("torch")
    return reference_model()


def test_it_is_a_trained_model_and_not_its_initial_state(model):
    """Judged against the same shape with its weights shuffled, and against the size of the vocabulary."""
    import torch

    text = reference_text("in-domain")
    trained = perplexity(model, text, max_tokens=2000)
    assert trained.perplexity < model.vocab_size / 50
    assert 0.5 < trained.bits_per_byte < 2.5
    shuffled = load_model("reference")
    rng = torch.Generator().manual_seed(0)
    for layer in shuffled.linear_layers().values():
        flat = layer.weight.data.flatten()
        layer.weight.data = flat[torch.randperm(len(flat), generator=rng)].view_as(layer.weight)
    assert perplexity(shuffled, text, max_tokens=2000).loss > trained.loss + 1


def test_an_unseen_domain_is_harder(model):
    near = perplexity(model, reference_text("in-domain"), max_tokens=3000)
    far = perplexity(model, reference_text("out-of-domain"), max_tokens=3000)
    assert far.bits_per_byte > near.bits_per_byte


def test_stock_transformers_loads_it_with_the_same_logits(model):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(reference_path(), dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(reference_path())
    text = reference_text("calibration")[:2000]
    ids = model.tokenizer.encode(text)
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == ids
    with torch.inference_mode():
        batch = torch.tensor([ids[:300]])
        torch.testing.assert_close(model(batch), theirs(batch).logits, rtol=0, atol=1e-4)


def test_layers_and_size():
    checkpoint = open_checkpoint("reference")
    config = json.loads((reference_path() / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert len(checkpoint.linear_layers()) == 7 * config["num_hidden_layers"]
    assert sum(info.nbytes for info in checkpoint.tensors.values()) < 16 * 2**20
    assert all(np.isfinite(values.astype(np.float32)).all() for values in checkpoint.values())


def test_texts_are_there_and_share_no_paragraph():
    paragraphs = {kind: {p for p in reference_text(kind).split("\n\n") if len(p) > 80} for kind in TEXTS}
    assert all(len(found) > 50 for found in paragraphs.values())
    kinds = list(paragraphs)
    for i, kind in enumerate(kinds):
        for other in kinds[i + 1 :]:
            assert not paragraphs[kind] & paragraphs[other]
    assert read_text("reference:in-domain") == reference_text("in-domain")


@pytest.mark.parametrize("kind", ["poem", "in_domain", "", "../config"])
def test_no_such_text(kind):
    with pytest.raises(BadInput, match="no reference text"):
        reference_text(kind)


def test_a_folder_of_that_name_is_reached_by_its_path(tmp_path, monkeypatch):
    (tmp_path / "reference").mkdir()
    monkeypatch.chdir(tmp_path)
    assert open_checkpoint("reference").path == reference_path()
    with pytest.raises(BadInput, match="no weights"):
        open_checkpoint("./reference")
