"""A model spread over several devices: one device's share of the sizes, and what the devices exchange."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mfi_command import BadInput
from roofline import model_shape
from roofline.arguments import positive


def sharded(config: Mapping[str, Any], parts: int) -> dict[str, Any]:
    """The config of one of `parts` devices under tensor parallelism (Shoeybi et al. 2019, Megatron-LM).

    Heads, the inner width of the MLP and the vocabulary are divided; key heads fewer than the devices are
    repeated. The width of the residual stream stays.

    Raises
    ------
    BadInput
        A count that `parts` does not divide, named.
    """
    parts = positive("tensor parallel devices", parts, largest=1024)
    if parts == 1:
        return dict(config)
    shape = model_shape(config)
    for name, value in (
        ("num_attention_heads", shape.heads),
        ("intermediate_size", shape.intermediate),
    ):
        if value % parts:
            raise BadInput(f"{name} {value} cannot be divided among {parts} devices")
    if shape.kv_heads % parts and parts % shape.kv_heads:
        raise BadInput(f"num_key_value_heads {shape.kv_heads} cannot be divided among {parts} devices")
    flat = dict(config["text_config"]) if isinstance(config.get("text_config"), Mapping) else dict(config)
    for spelling in ("n_head", "ffn_dim", "n_inner"):
        flat.pop(spelling, None)
    return {
        **flat,
        "num_attention_heads": shape.heads // parts,
        "num_key_value_heads": max(1, shape.kv_heads // parts),
        "intermediate_size": shape.intermediate // parts,
        "vocab_size": -(-shape.vocabulary // parts),
        "head_dim": shape.head_dim,
    }


def exchanged_bytes(hidden: int, tokens: Any, *, bits: int) -> Any:
    """Bytes of one all-reduce; a layer has two, after its attention and after its MLP."""
    return tokens * hidden * bits / 8
