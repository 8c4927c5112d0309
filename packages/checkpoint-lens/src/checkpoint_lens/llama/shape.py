"""The numbers in a config.json that a Llama-shaped model is built from, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mfi_command import BadInput

# The same block: RMSNorm, rotary, grouped-query attention, SwiGLU. Only their biases differ.
MODEL_TYPES = ("llama", "mistral", "qwen2")
ROPE_TYPES = ("default", "linear", "llama3", "factors")


@dataclass(frozen=True)
class LlamaShape:
    """Sizes and constants of a Llama-shaped model; `rope` holds rope_theta, rope_type and its parameters."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    rms_norm_eps: float
    tie_word_embeddings: bool
    attention_bias: bool
    mlp_bias: bool
    rope: Mapping[str, Any]

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> LlamaShape:
        """Read the keys of a config.json.

        Raises
        ------
        BadInput
            If a size is missing, not a positive whole number, or the head counts do not divide.
        """
        heads = _size(config, "num_attention_heads")
        hidden = _size(config, "hidden_size")
        kv_heads = _size(config, "num_key_value_heads", default=heads)
        if config.get("head_dim") is None and hidden % heads:
            raise BadInput(f"config: hidden_size {hidden} is no multiple of num_attention_heads {heads}")
        if heads % kv_heads:
            raise BadInput(f"config: {heads} attention heads cannot share {kv_heads} key-value heads")
        head_dim = _size(config, "head_dim", default=hidden // heads)
        if head_dim % 2:
            raise BadInput(f"config: head_dim {head_dim} is odd; rotary embedding turns pairs")
        return cls(
            vocab_size=_size(config, "vocab_size"),
            hidden_size=hidden,
            intermediate_size=_size(config, "intermediate_size"),
            num_hidden_layers=_size(config, "num_hidden_layers"),
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            head_dim=head_dim,
            rms_norm_eps=_positive(config, "rms_norm_eps", default=1e-6),
            tie_word_embeddings=bool(config.get("tie_word_embeddings", False)),
            attention_bias=bool(config.get("attention_bias", False)),
            mlp_bias=bool(config.get("mlp_bias", False)),
            rope=rope_parameters(config),
        )


def is_llama_shaped(config: Mapping[str, Any]) -> bool:
    """Whether our forward pass computes this model: block, activation, rotary kind and full attention."""
    window = config.get("sliding_window")
    windowed = window is not None and config.get("use_sliding_window", config.get("model_type") == "mistral")
    return (
        config.get("model_type") in MODEL_TYPES
        and config.get("hidden_act", "silu") == "silu"
        and rope_parameters(config)["rope_type"] in ROPE_TYPES
        and not windowed
    )


def rope_parameters(config: Mapping[str, Any]) -> dict[str, Any]:
    """rope_theta, rope_type and its parameters, from either of the two layouts that config.json has had."""
    found = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(found, Mapping):
        raise BadInput(f"config: rope parameters must be an object, not {found!r}")
    rope = {"rope_theta": config.get("rope_theta") or 10000.0, **found}
    rope["rope_type"] = found.get("rope_type") or found.get("type") or "default"
    rope.setdefault("original_max_position_embeddings", config.get("max_position_embeddings"))
    return rope


def _size(config: Mapping[str, Any], key: str, *, default: int | None = None) -> int:
    value = config.get(key)
    if value is None:
        if default is None:
            raise BadInput(f"config.json has no {key}; a Llama-shaped model needs it")
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise BadInput(f"config.json: {key} must be a positive whole number, not {value!r}")
    return value


def _positive(config: Mapping[str, Any], key: str, *, default: float) -> float:
    value = config.get(key, default)
    if not isinstance(value, int | float) or not value > 0:
        raise BadInput(f"config.json: {key} must be a positive number, not {value!r}")
    return float(value)
