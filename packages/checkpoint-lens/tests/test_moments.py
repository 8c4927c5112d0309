"""Second moments against inputs recomputed outside of the model, in float64."""

import numpy as np
import pytest

from checkpoint_lens import load_model, open_checkpoint, second_moments
from mfi_command import BadInput

torch = pytest.importorskip("torch")
ATTENTION = "model.layers.0.self_attn."


@pytest.fixture
def folder(write_llama):
    return write_llama(tie_word_embeddings=False)


@pytest.fixture
def model(folder):
    return load_model(folder)


def inputs_by_layer(model, ids, context):
    """Every layer's inputs, window by window, collected the plain way."""
    seen = {name: [] for name in model.linear_layers()}
    handles = [
        layer.register_forward_hook(lambda _, x, y, name=name: seen[name].append(x[0][0].double().numpy()))
        for name, layer in model.linear_layers().items()
    ]
    for start in range(0, len(ids), context):
        model(torch.tensor([ids[start : start + context]]))
    for handle in handles:
        handle.remove()
    return {name: np.concatenate(parts) for name, parts in seen.items()}


def test_gram_is_the_sum_of_outer_products(model, text):
    ids = model.tokenizer.encode(text)[:150]
    inputs = inputs_by_layer(model, ids, 40)
    found = second_moments(model, text, context=40, max_tokens=150)
    assert list(found) == list(model.linear_layers())
    for name, x in inputs.items():
        assert found[name].gram.dtype == np.float64
        assert found[name].tokens == len(x) == 150
        np.testing.assert_allclose(found[name].gram, np.einsum("ti,tj->ij", x, x), rtol=1e-12, atol=1e-12)


def test_first_layer_from_the_checkpoint_alone(folder, model, text):
    """Embedding rows, normed: no forward pass of ours or anyone's."""
    checkpoint = open_checkpoint(folder)
    ids = model.tokenizer.encode(text)[:100]
    x = checkpoint["model.embed_tokens.weight"][ids].astype(np.float64)
    x /= np.sqrt((x**2).mean(-1, keepdims=True) + checkpoint.config["rms_norm_eps"])
    x *= checkpoint["model.layers.0.input_layernorm.weight"]
    gram = second_moments(model, text, context=100, max_tokens=100)[ATTENTION + "q_proj"].gram
    np.testing.assert_allclose(gram, x.T @ x, rtol=1e-5, atol=1e-5)


def test_one_input_is_one_array(model, text):
    found = second_moments(model, text, max_tokens=60)
    mlp = "model.layers.0.mlp."
    assert found[ATTENTION + "q_proj"].gram is found[ATTENTION + "k_proj"].gram
    assert found[ATTENTION + "q_proj"].gram is found[ATTENTION + "v_proj"].gram
    assert found[mlp + "gate_proj"].gram is found[mlp + "up_proj"].gram
    assert len({id(moment.gram) for moment in found.values()}) == 2 * 4 + 1
    with pytest.raises(ValueError, match="read-only"):
        found["lm_head"].gram[0, 0] = 1


def test_a_choice_of_layers_gives_the_same_numbers(model, text):
    chosen = [ATTENTION + "v_proj", "model.layers.1.mlp.down_proj"]
    every = second_moments(model, text, max_tokens=60)
    some = second_moments(model, text, max_tokens=60, layers=chosen)
    assert list(some) == chosen
    for name in chosen:
        np.testing.assert_array_equal(some[name].gram, every[name].gram)


def test_hooks_are_gone_afterwards_even_after_an_error(model, text):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        second_moments(model, text, context=20, on_progress=stop)
    assert all(not layer._forward_pre_hooks for layer in model.linear_layers().values())


def test_an_unknown_layer(model, text):
    with pytest.raises(BadInput, match=r"no linear layer 'model\.norm'"):
        second_moments(model, text, layers=["model.norm"])
