"""Any architecture of transformers, from its config alone: built on meta tensors and counted by dispatch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mfi_command import BadInput, require
from roofline.arguments import positive
from roofline.configs import read_config
from roofline.dispatch import trace
from roofline.dtypes import dtype_name
from roofline.hardware import Device
from roofline.kernels import KernelAnalysis, analyze_torch

_DTYPES = {"fp64": "float64", "fp32": "float32", "tf32": "float32", "fp16": "float16", "bf16": "bfloat16"}
_LARGEST = 1 << 24


def analyze_config(
    model: str | Path | Mapping[str, Any],
    *,
    device: str | Path | Device,
    batch: int = 1,
    sequence: int = 2048,
    phase: str = "prefill",
    dtype: str = "bf16",
    by: str = "module",
) -> KernelAnalysis:
    """Count the code that transformers has for a config, operator by operator, without weights.

    Slower than `analyze` and nearer to what eager code does: attention computes the whole square, and logits
    are those of every position. `analyze` knows fewer architectures and counts what serving engines compute.

    Parameters
    ----------
    model
        As for `analyze`.
    batch, sequence, phase
        As for `analyze`; an encoder has only "prefill".
    dtype
        Of weights and arithmetic; formats below 16 bits have no code in transformers to count.
    by
        As for `analyze_torch`.

    Raises
    ------
    BadInput
        torch or transformers is missing, transformers does not know the architecture, the code needs values,
        or a size is out of range.

    Notes
    -----
    Cost: some 20 microseconds an operator; OPT-175B, 96 layers, takes seconds.
    """
    if phase not in ("prefill", "decode"):
        raise BadInput(f"phase is {phase!r}, expected prefill or decode")
    short = dtype_name(dtype)
    if short not in _DTYPES:
        raise BadInput(f"dtype {dtype}: transformers' own code runs in {', '.join(_DTYPES)}")
    torch = require("torch", extra="torch", distribution="roofline")
    tokens = torch.empty(
        positive("batch", batch, largest=_LARGEST),
        positive("sequence", sequence, largest=_LARGEST),
        dtype=torch.long,
        device="meta",
    )
    network = build(read_config(model), dtype=short)
    function, given = _pass(torch, network, tokens, phase)
    return analyze_torch(function, device=device, dtype=short, by=by, **given)


def build(config: Mapping[str, Any], *, dtype: str) -> Any:
    """The model of a config on meta: a causal language model where the architecture has one."""
    torch = require("torch", extra="torch", distribution="roofline")
    transformers: Any = require("transformers", extra="hf", distribution="roofline")
    kind = config.get("model_type")
    if not isinstance(kind, str):
        raise BadInput("the config has no model_type, which names the architecture")
    try:
        made = transformers.AutoConfig.for_model(**config)
    except Exception as error:  # each config checks itself in its own way, with errors of its own
        words = " ".join(str(error).split())[:160]
        raise BadInput(f"transformers cannot use the config of model_type {kind!r}: {words}") from error
    causal = transformers.AutoModelForCausalLM
    known = type(made) in getattr(causal, "_model_mapping", {})
    logging.getLogger("transformers").setLevel(
        logging.ERROR
    )  # remarks on ids of tokens, which have no bearing
    options = {"attn_implementation": "eager", "dtype": getattr(torch, _DTYPES[dtype])}
    try:
        with torch.device("meta"):
            network = (causal if known else transformers.AutoModel).from_config(made, **options).eval()
    except Exception as error:  # a size that fits no layer fails wherever that layer notices
        words = " ".join(str(error).split())[:160]
        raise BadInput(f"transformers cannot build model_type {kind!r} from this config: {words}") from error
    if any("expert" in key for key in config):
        _group_experts(network)
    return network


def _group_experts(network: Any) -> None:
    """Experts as grouped products, which is what runs on a GPU; a loop over experts would need values."""
    try:
        network.set_experts_implementation("grouped_mm")
    except (AttributeError, ValueError):
        return


def _pass(torch: Any, network: Any, tokens: Any, phase: str) -> tuple[Callable[..., Any], dict[str, Any]]:
    if phase == "prefill":
        inputs = {"input_ids": tokens}
        if getattr(network.config, "is_encoder_decoder", False):
            inputs["decoder_input_ids"] = tokens[:, :1]
        return network, inputs
    if not hasattr(network, "lm_head") and not network.can_generate():
        raise BadInput(f"model_type {network.config.model_type!r} is no decoder, so it has no decode step")
    kept: list[Any] = []

    def fill(prefix: Any) -> None:
        kept.append(network(input_ids=prefix, use_cache=True).past_key_values)

    if tokens.shape[1] > 1:
        trace(fill, tokens[:, :-1])
    cache = {"past_key_values": kept[0]} if kept else {}
    return network, {"input_ids": tokens[:, -1:], "use_cache": True, **cache}
