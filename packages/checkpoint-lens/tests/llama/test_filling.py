"""A checkpoint that does not fit its configuration, or is damaged."""

import copy
import json

import numpy as np
import pytest

from checkpoint_lens import load_model, open_checkpoint, perplexity
from mfi_command import BadInput

torch = pytest.importorskip("torch")
Q = "model.layers.1.self_attn.q_proj.weight"


def spoil(value):
    def change(weights):
        weights[Q][3, 5] = value

    return change


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_named(write_llama, value):
    folder = write_llama(change=spoil(value))
    assert len(open_checkpoint(folder).tensors) > 10  # listing reads no values
    with pytest.raises(BadInput, match=rf"{Q} holds 1 values .* first at \(3, 5\)"):
        load_model(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda w: w.pop(Q), f"lacks tensor {Q}"),
        (lambda w: w.update({Q: w[Q][:-1]}), r"shape \(31, 32\).*gives \(32, 32\)"),
        (lambda w: w.update({Q: np.ascontiguousarray(w[Q].reshape(16, 64))}), r"shape \(16, 64\)"),
        (lambda w: w.update({"model.layers.9.x.weight": w[Q]}), "no place for"),
        (lambda w: w.update({Q + "_scale": w[Q]}), "no place for"),
        (lambda w: w.update({Q: w[Q].astype(np.int8)}), "holds int8"),
    ],
)
def test_weights_that_do_not_fit_are_named(write_llama, change, says):
    with pytest.raises(BadInput, match=says):
        load_model(write_llama(change=change))


@pytest.mark.parametrize("key", ["hidden_size", "vocab_size", "num_hidden_layers", "num_attention_heads"])
@pytest.mark.parametrize("value", ["absent", 0, -3, 2.5, "many", True])
def test_a_configuration_without_a_size_is_bad_input(write_llama, key, value):
    folder = write_llama()
    config = json.loads((folder / "config.json").read_text())
    config.pop(key)
    if value != "absent":
        config[key] = value
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match=key):
        load_model(folder)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"num_key_value_heads": 3}, "cannot share"),
        ({"num_attention_heads": 5}, "multiple"),
        ({"head_dim": 7}, "odd"),
        ({"rms_norm_eps": -1.0}, "rms_norm_eps"),
        ({"rope_scaling": "twice"}, "rope"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "low_freq_factor"),
    ],
)
def test_sizes_that_contradict_are_bad_input(write_llama, changes, says):
    folder = write_llama()
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match=says):
        load_model(folder)(torch.arange(4)[None])


def test_weights_alone_do_not_run(write_llama):
    folder = write_llama()
    (folder / "config.json").unlink()
    with pytest.raises(BadInput, match=r"no config\.json"):
        load_model(folder)


def test_an_unknown_dtype(write_llama):
    with pytest.raises(BadInput, match="int4"):
        load_model(write_llama(), "int4")


def test_a_tied_model_may_carry_its_head(write_llama):
    plain = load_model(write_llama())
    carried = load_model(
        write_llama("b", change=lambda w: w.update({"lm_head.weight": w["model.embed_tokens.weight"]}))
    )
    ids = torch.arange(30)[None]
    assert torch.equal(plain(ids), carried(ids))
    assert "lm_head" not in carried.linear_layers()


@pytest.mark.parametrize("tied", [True, False])
def test_layers_have_the_names_of_the_checkpoint(write_llama, tied):
    folder = write_llama(tie_word_embeddings=tied)
    listed = {layer.name: layer.shape for layer in open_checkpoint(folder).linear_layers()}
    model = load_model(folder)
    assert {name: tuple(layer.weight.shape) for name, layer in model.linear_layers().items()} == listed
    assert ("lm_head" in listed) is not tied
    assert list(listed) == list(model.linear_layers())


def test_a_copy_is_independent_and_whole(write_llama, text):
    model = load_model(write_llama())
    before = perplexity(model, text)
    twin = copy.deepcopy(model)
    for parameter in twin.parameters():
        parameter.zero_()
    assert perplexity(model, text).loss == before.loss
    assert perplexity(twin, text).perplexity == pytest.approx(400)


def test_gradients_flow_after_an_evaluation(write_llama, text):
    """What a quantizer needs: the rotary table of an earlier inference must not stop a backward pass."""
    model = load_model(write_llama())
    perplexity(model, text, max_tokens=50)
    model.requires_grad_(True)
    model(torch.arange(20)[None]).square().sum().backward()
    assert all(float(p.grad.norm()) > 0 for p in model.parameters())


@pytest.mark.parametrize("name", ["model.layers.0.mlp.up_proj", "lm_head"])
def test_replacing_a_layer_changes_the_logits(write_llama, name):
    model = load_model(write_llama(tie_word_embeddings=False))
    ids = torch.arange(30)[None]
    before = model(ids)
    old = model.linear_layers()[name]
    double = torch.nn.Linear(old.in_features, old.out_features, bias=False)
    double.weight = torch.nn.Parameter(2 * old.weight, requires_grad=False)
    model.replace_layer(name, double)
    assert model.linear_layers()[name] is double
    assert not torch.allclose(model(ids), before)
    with pytest.raises(BadInput, match="no linear layer"):
        model.replace_layer("model.norm", double)
