"""Shapes from configs: parameters and FLOP against transformers, and unusable configs."""

from typing import Any

import pytest

from mfi_command import BadInput
from roofline import analyze, known_models, model_shape, read_config
from roofline.passes import parameters

TINY: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "vocab_size": 97,
    "max_position_embeddings": 64,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": TINY | {"model_type": "llama", "num_key_value_heads": 2},
    "llama-biased-tied": TINY
    | {"model_type": "llama", "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
    "llama-head-dim": TINY | {"model_type": "llama", "head_dim": 24, "num_key_value_heads": 1},
    "mistral-window": TINY | {"model_type": "mistral", "num_key_value_heads": 2, "sliding_window": 7},
    "qwen2": TINY | {"model_type": "qwen2", "num_key_value_heads": 2, "tie_word_embeddings": True},
    "qwen3": TINY | {"model_type": "qwen3", "num_key_value_heads": 2, "head_dim": 32},
    "gemma": TINY | {"model_type": "gemma", "num_key_value_heads": 1, "head_dim": 32},
    "gemma2": TINY | {"model_type": "gemma2", "num_key_value_heads": 2, "head_dim": 16, "sliding_window": 5},
    "phi": TINY | {"model_type": "phi"},
    "phi3": TINY | {"model_type": "phi3", "num_key_value_heads": 2, "pad_token_id": 0},
    "starcoder2": TINY | {"model_type": "starcoder2", "num_key_value_heads": 2},
    "opt": TINY | {"model_type": "opt", "ffn_dim": 160, "word_embed_proj_dim": 64},
    "opt-350m-like": TINY
    | {"model_type": "opt", "ffn_dim": 160, "word_embed_proj_dim": 32, "do_layer_norm_before": False},
    "gpt2": {
        "model_type": "gpt2",
        "n_embd": 64,
        "n_layer": 3,
        "n_head": 4,
        "n_positions": 64,
        "vocab_size": 97,
    },
    "gpt_neox": TINY | {"model_type": "gpt_neox"},
}


def built(config: dict[str, Any]) -> Any:
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    made = transformers.AutoConfig.for_model(**config)
    return transformers.AutoModelForCausalLM.from_config(made, attn_implementation="eager").eval()


@pytest.mark.parametrize("name", CONFIGS)
def test_parameters_equal_transformers(name: str) -> None:
    model = built(CONFIGS[name])
    assert parameters(model_shape(CONFIGS[name])) == model.num_parameters()


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("batch", [1, 3])
def test_flop_equals_flop_counter(name: str, batch: int) -> None:
    """Matrix products of the eager code, which computes the whole square of attention and every logit.

    flop_counter counts no bias additions, so they are taken off ours.
    """
    model = built(CONFIGS[name])
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    sequence = 11
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(torch.zeros(batch, sequence, dtype=torch.long), use_cache=False)
    # The rotary angles are a product of (dim / 2, 1) and (1, positions); ours has none.
    angles = sum(
        sum(by_operator.values())
        for module, by_operator in counter.get_flop_counts().items()
        if module.endswith("rotary_emb")
    )
    found = analyze(
        CONFIGS[name],
        device="H100",
        batch=batch,
        sequence=sequence,
        logits="all",
        causal_skip=False,
    )
    ours = 0
    for placed in found.operators:
        operator = placed.operator
        if operator.kind == "matmul":
            m, n, k = operator.sizes
            ours += 2 * m * n * k * operator.count
        elif operator.kind == "attention":
            ours += operator.flop
    assert ours == counter.get_total_flops() - angles


def test_known_shapes_have_the_published_sizes() -> None:
    """The number in a model's name, from the shapes typed in the table; four exact counts."""
    sizes = {name: analyze(name, device="H100").parameters for name in known_models()}
    assert sizes["gpt2"] == 124_439_808
    assert sizes["llama-2-7b"] == 6_738_415_616
    assert sizes["llama-3-8b"] == 8_030_261_248
    assert sizes["smollm2-135m"] == 134_515_008
    for name, size in sizes.items():
        if name.startswith(("gpt2", "mixtral")):  # no number, or 8x7: the shared parts count once
            continue
        text = name.rpartition("-")[2]
        stated = float(text[:-1]) * {"b": 1e9, "m": 1e6}[text[-1]]
        assert size == pytest.approx(stated, rel=0.25), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": None}, "hidden_size"),
        ({"hidden_size": 0}, "hidden_size"),
        ({"hidden_size": float("nan")}, "hidden_size"),
        ({"hidden_size": "64"}, "hidden_size"),
        ({"num_hidden_layers": True}, "num_hidden_layers"),
        ({"num_hidden_layers": 10**40}, "num_hidden_layers"),
        ({"num_attention_heads": 5}, "multiple"),
        ({"num_key_value_heads": 3}, "multiple"),
        ({"model_type": "mamba"}, "model_type"),
        ({"model_type": None}, "model_type"),
        ({"num_local_experts": 8}, "num_local_experts"),
        ({"sliding_window": -1, "model_type": "mistral"}, "sliding_window"),
        ({"vocab_size": None}, "vocab_size"),
        ({"partial_rotary_factor": 3}, "partial_rotary_factor"),
    ],
)
def test_unusable_configs_name_the_key(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        model_shape(CONFIGS["llama"] | change)


def test_read_config_finds_names_and_files(tmp_path: Any) -> None:
    assert read_config("facebook/OPT-30B")["num_hidden_layers"] == 48
    path = tmp_path / "config.json"
    path.write_text('{"hidden_size": 3}')
    assert read_config(path) == read_config(tmp_path) == {"hidden_size": 3}
    path.write_text("[1]")
    with pytest.raises(BadInput, match="JSON object"):
        read_config(path)
    path.write_text("{")
    with pytest.raises(BadInput, match="not a JSON"):
        read_config(path)
    with pytest.raises(BadInput, match="opt-30b"):
        read_config("opt-31b")
