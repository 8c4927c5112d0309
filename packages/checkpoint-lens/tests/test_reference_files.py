"""The folder of the reference model: stock transformers loads it; it predicts as well as its card says."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import numpy as np
import pytest

from checkpoint_lens import load_model, perplexity, reference_path, reference_text

LIMIT_BYTES = 16 * 2**20


@pytest.fixture(scope="module")
def evaluation() -> dict[str, Any]:
    return dict(json.loads((reference_path() / "evaluation.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return dict(json.loads((reference_path() / "config.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def stock() -> tuple[Any, Any]:
    """(model, tokenizer) as stock transformers loads them."""
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(reference_path(), dtype="float32")
    return model.eval(), transformers.AutoTokenizer.from_pretrained(reference_path())


def judged(model: Any, tokenizer: Any, text: str, windows: int, context: int) -> tuple[float, int]:
    """(nats, bytes) of the first windows, the first token of each unjudged; bytes counted by decoding."""
    torch = pytest.importorskip("torch")
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    nats, size = 0.0, 0
    for start in range(0, windows * context, context):
        block = torch.tensor(ids[start : start + context])
        with torch.inference_mode():
            rows = torch.log_softmax(model(block[None]).logits[0, :-1].double(), dim=-1)
        nats -= float(rows.gather(1, block[1:, None]).sum())
        size += len(tokenizer.decode(block[1:].tolist()).encode())
    return nats, size


def test_weights_fit_the_limit_and_the_config(config: dict[str, Any]) -> None:
    path = reference_path() / "model.safetensors"
    assert path.stat().st_size <= LIMIT_BYTES
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    assert {entry["dtype"] for entry in header.values()} == {"F16"}
    d, inner, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    key = config["num_key_value_heads"] * config["head_dim"]
    expected = config["vocab_size"] * d + layers * (2 * d * d + 2 * d * key + 3 * d * inner + 2 * d) + d
    assert sum(math.prod(entry["shape"]) for entry in header.values()) == expected
    assert not any(dimension % 128 for dimension in (d, inner, key, config["vocab_size"]))  # groups of 128
    values = np.frombuffer(data[8 + length :], np.float16)
    assert np.isfinite(values).all()


def test_transformers_gives_the_recorded_logits(stock: tuple[Any, Any], evaluation: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    model, tokenizer = stock
    prompt = evaluation["prompt"]
    assert tokenizer(prompt["text"])["input_ids"] == prompt["ids"]
    assert tokenizer.decode(prompt["ids"]) == prompt["text"]
    with torch.inference_mode():
        logits = model(torch.tensor([prompt["ids"]])).logits[0, -1]
    np.testing.assert_allclose(logits[:16].numpy(), prompt["last_logits_head"], rtol=0, atol=1e-4)
    assert int(logits.argmax()) == prompt["argmax"]


def test_bits_per_byte_of_a_slice(stock: tuple[Any, Any], evaluation: dict[str, Any]) -> None:
    windows, context = evaluation["slice_windows"], evaluation["context"]
    for kind in ("in-domain", "out-of-domain"):
        recorded = evaluation["texts"][kind.replace("-", "_")]["slice"]
        nats, size = judged(*stock, reference_text(kind), windows, context)
        assert nats / math.log(2) / size == pytest.approx(recorded["bits_per_byte"], rel=1e-4)
        ours = perplexity(load_model("reference"), reference_text(kind), max_tokens=windows * context)
        assert ours.bits_per_byte == pytest.approx(recorded["bits_per_byte"], rel=1e-4)
        assert ours.tokens == recorded["tokens"]


def test_the_model_beats_an_untrained_copy(stock: tuple[Any, Any]) -> None:
    transformers, torch = pytest.importorskip("transformers"), pytest.importorskip("torch")
    torch.manual_seed(0)
    untrained = transformers.LlamaForCausalLM(stock[0].config).eval()
    text = reference_text("out-of-domain")
    trained, size = judged(*stock, text, 1, 512)
    random, _ = judged(untrained, stock[1], text, 1, 512)
    assert random / math.log(2) / size > 3
    assert trained < 0.6 * random


def test_the_card_quotes_the_evaluation(evaluation: dict[str, Any]) -> None:
    card = (reference_path() / "MODEL_CARD.md").read_text(encoding="utf-8")
    for row in evaluation["texts"].values():
        best = min(row["compressors"].values())
        assert row["trained"]["whole_text_bits_per_byte"] < best < row["untrained"]["bits_per_byte"]
        for value in (row["trained"]["bits_per_byte"], row["untrained"]["bits_per_byte"], best):
            assert f"{value:.3f}" in card


@pytest.mark.slow
def test_bits_per_byte_of_the_whole_texts(evaluation: dict[str, Any]) -> None:
    model = load_model("reference")
    for kind in ("in-domain", "out-of-domain"):
        recorded = evaluation["texts"][kind.replace("-", "_")]["trained"]
        assert perplexity(model, reference_text(kind)).bits_per_byte == pytest.approx(
            recorded["bits_per_byte"], rel=1e-4
        )
