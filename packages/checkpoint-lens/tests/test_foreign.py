"""Architectures that go through transformers."""

import json

import pytest

from checkpoint_lens import load_model, open_checkpoint, perplexity, second_moments
from mfi_command import BadInput

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


@pytest.fixture
def folder(tmp_path, tokenizer):
    torch.manual_seed(0)
    config = transformers.PhiConfig(
        vocab_size=400, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=128, tie_word_embeddings=False,
    )  # fmt: skip
    transformers.PhiForCausalLM(config).save_pretrained(tmp_path)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def test_logits_layers_and_measurements(folder, text):
    model = load_model(folder)
    assert type(model).__name__ == "ForeignLM"
    ids = torch.arange(40)[None]
    wanted = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()(ids).logits
    torch.testing.assert_close(model(ids), wanted, rtol=0, atol=1e-5)
    listed = [layer.name for layer in open_checkpoint(folder).linear_layers()]
    assert sorted(listed) == sorted(model.linear_layers())
    assert 300 < perplexity(model, text, context=64).perplexity < 600
    assert set(second_moments(model, text, context=64, max_tokens=100)) == set(listed)
    old = model.linear_layers()[listed[0]]
    model.replace_layer(listed[0], torch.nn.Linear(old.in_features, old.out_features))
    assert not torch.allclose(model(ids), wanted)


def test_missing_weights_are_not_made_up(folder):
    from safetensors.numpy import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights.pop("model.layers.1.self_attn.dense.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match="missing keys"):
        load_model(folder)


def test_a_nan_is_named(folder):
    from safetensors.numpy import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    name = "model.layers.1.self_attn.dense.weight"
    weights[name][0, 0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match=name):
        load_model(folder)


def test_code_of_the_checkpoint_is_not_run(folder):
    marker = folder / "ran"
    (folder / "modeling_x.py").write_text(
        f"open({str(marker)!r}, 'w')\nclass XConfig: pass\nclass XLM: pass\n"
    )
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "x-of-its-own",
        "auto_map": {"AutoConfig": "modeling_x.XConfig", "AutoModelForCausalLM": "modeling_x.XLM"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match="transformers cannot load") as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)
    assert not marker.exists()


@pytest.mark.parametrize("kind", ["never-heard-of", None])
def test_an_unknown_architecture(folder, kind):
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = kind
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput):
        load_model(folder)


def test_a_lone_file_of_another_architecture(folder):
    with pytest.raises(BadInput, match="give the Hugging Face folder"):
        load_model(folder / "model.safetensors")
