"""Which tensors count as linear layers."""

import pytest

from checkpoint_lens.layers import block_of, linear_layers, role_of


@pytest.mark.parametrize(
    ("name", "role", "block"),
    [
        ("model.layers.11.self_attn.q_proj", "q", 11),
        ("model.layers.0.mlp.down_proj", "down", 0),
        ("model.layers.3.mlp.experts.7.up_proj", "up", 3),
        ("transformer.h.2.attn.c_attn", "other", 2),
        ("lm_head", "lm_head", None),
        ("model.layers.4", "other", 4),
    ],
)
def test_role_and_block(name, role, block):
    assert role_of(name) == role
    assert block_of(name) == block


def test_order_is_the_forward_pass_whatever_the_file_has():
    shapes = {
        "lm_head.weight": (9, 4),
        "model.layers.10.self_attn.q_proj.weight": (4, 4),
        "model.layers.2.mlp.down_proj.weight": (4, 8),
        "model.layers.2.self_attn.k_proj.weight": (2, 4),
    }
    names = [layer.name for layer in linear_layers(shapes, {})]
    assert names == [
        "model.layers.2.self_attn.k_proj",
        "model.layers.2.mlp.down_proj",
        "model.layers.10.self_attn.q_proj",
        "lm_head",
    ]


def test_embeddings_norms_biases_and_a_tied_head_are_none():
    shapes = {
        "model.embed_tokens.weight": (9, 4),
        "transformer.wte.weight": (9, 4),
        "model.norm.weight": (4,),
        "encoder.layer_norm.weight": (4, 4),
        "model.layers.0.self_attn.q_proj.bias": (4,),
        "lm_head.weight": (9, 4),
    }
    assert linear_layers(shapes, {"tie_word_embeddings": True}) == []
    assert [x.role for x in linear_layers(shapes, {})] == ["lm_head"]
    assert len(linear_layers({"embed_out.weight": (9, 4)}, {})) == 1  # GPT-NeoX's head


def test_transposed_conv1d_of_gpt2_is_left_out():
    shapes = {"h.0.attn.c_attn.weight": (4, 12), "lm_head.weight": (9, 4)}
    assert [x.name for x in linear_layers(shapes, {"model_type": "gpt2"})] == ["lm_head"]
