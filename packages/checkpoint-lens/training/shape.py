"""The model's shape, and how many parameters and bytes it comes to. Imports nothing: the tests read it."""

from typing import Any

LIMIT_BYTES = 16 * 2**20
CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "head_dim": 32,
    "hidden_act": "silu",
    "hidden_size": 256,
    "initializer_range": 0.02,
    "intermediate_size": 768,
    "max_position_embeddings": 512,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 8,
    "num_hidden_layers": 8,
    "num_key_value_heads": 4,
    "pad_token_id": 0,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "torch_dtype": "float16",
    "use_cache": True,
    "vocab_size": 8064,
}


def parameters(config: dict[str, Any]) -> int:
    """Number of parameters of a Llama with tied embeddings."""
    d, heads = config["hidden_size"], config["num_attention_heads"]
    query = heads * config["head_dim"]
    key = config["num_key_value_heads"] * config["head_dim"]
    attention = d * (query + key + key) + query * d
    layer = attention + 3 * d * config["intermediate_size"] + 2 * d
    return int(config["vocab_size"] * d + config["num_hidden_layers"] * layer + d)
