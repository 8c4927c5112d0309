"""The timing loop computes what transformers computes, so that it is timed doing the work of a model."""

import pytest

from latency_predictor.collect.decoder import Decoder, add_norm, as_written, gated, turned
from mfi_command import BadInput
from roofline import model_shape, read_config

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

BASE = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 100,
    "max_position_embeddings": 64,
}
CONFIGS = [
    {**BASE, "model_type": "opt", "ffn_dim": 128, "word_embed_proj_dim": 64},
    {**BASE, "model_type": "llama", "intermediate_size": 96, "num_key_value_heads": 2},
    {**BASE, "model_type": "mistral", "intermediate_size": 96, "num_key_value_heads": 4},
    {**BASE, "model_type": "qwen2", "intermediate_size": 96, "num_key_value_heads": 1},
    {
        **BASE,
        "model_type": "qwen3",
        "intermediate_size": 96,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "tie_word_embeddings": True,
    },
]
OUTER = {
    "opt": ("model.decoder.", "final_layer_norm", "embed_tokens"),
    "": ("model.", "norm", "embed_tokens"),
}
PARTS = {
    "opt": {"o": "self_attn.out_proj", "up": "fc1", "down": "fc2", "norm1": "self_attn_layer_norm",
            "norm2": "final_layer_norm"},
    "": {"o": "self_attn.o_proj", "up": "mlp.up_proj", "gate": "mlp.gate_proj", "down": "mlp.down_proj",
         "norm1": "input_layernorm", "norm2": "post_attention_layernorm"},
}  # fmt: skip
SAME = {
    name: f"self_attn.{name}{'' if '_' in name else '_proj'}" for name in ("q", "k", "v", "q_norm", "k_norm")
}


def copy_weights(weights: dict, into: Decoder) -> None:
    kind = "opt" if into.shape.model_type == "opt" else ""
    prefix, last, words = OUTER[kind]
    into.outer["embedding"].copy_(weights[f"{prefix}{words}.weight"])
    for end in ("weight", "bias"):
        if f"norm.{end}" in into.outer:
            into.outer[f"norm.{end}"].copy_(weights[f"{prefix}{last}.{end}"])
    if kind:
        into.outer["positions"].copy_(weights[f"{prefix}embed_positions.weight"])
    if not into.shape.tied:
        into.outer["head"].copy_(weights["lm_head.weight"])
    names = PARTS[kind] | SAME
    for number, layer in enumerate(into.layers):
        for name, tensor in layer.items():
            part, end = name.split(".")
            tensor.copy_(weights[f"{prefix}layers.{number}.{names[part]}.{end}"])


@pytest.mark.parametrize("config", CONFIGS, ids=[config["model_type"] for config in CONFIGS])
@torch.inference_mode()
def test_logits_are_those_of_transformers(config: dict) -> None:
    torch.manual_seed(0)
    judge_config = transformers.AutoConfig.for_model(**config)
    judge = transformers.AutoModelForCausalLM.from_config(judge_config).eval()
    for parameter in judge.parameters():
        parameter.normal_(0, 0.2)
    loop = Decoder(
        model_shape(config), batch=3, positions=9, dtype=torch.float32, device="cpu",
        norm_eps=getattr(judge_config, "rms_norm_eps", 1e-5),
        rope_theta=(getattr(judge_config, "rope_parameters", None) or {}).get("rope_theta", 10000.0),
    )  # fmt: skip
    copy_weights(dict(judge.state_dict()), loop)
    tokens = torch.randint(3, 100, (3, 9))
    wanted = judge(tokens).logits[:, -1]
    assert (loop.forward(tokens, 0) - wanted).abs().max() < 1e-5
    # In two pieces: a prefill that fills the cache, and a decode step that reads it.
    loop.forward(tokens[:, :8], 0)
    assert (loop.forward(tokens[:, 8:], 8) - wanted).abs().max() < 1e-5
    # Planted fault: one value of one layer's cache.
    loop.cache[0, 0] += 0.5
    assert (loop.forward(tokens[:, 8:], 8) - wanted).abs().max() > 1e-3


def test_what_the_loop_does_not_know_is_refused() -> None:
    options = {"batch": 1, "positions": 1, "dtype": torch.float32, "device": "cpu"}
    with pytest.raises(BadInput, match="gpt2"):
        Decoder(model_shape(read_config("gpt2")), **options)
    with pytest.raises(BadInput, match="word_embed_proj_dim"):
        Decoder(model_shape(read_config("opt-350m")), **options)


def test_functions_stay_what_they_are_when_not_compiled() -> None:
    for function in (add_norm, turned, gated):
        assert as_written(function) is function
