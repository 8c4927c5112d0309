"""Weights from a checkpoint into a Llama-shaped model, one tensor at a time, each checked on its way."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import torch
from torch import nn

from checkpoint_lens.llama.model import LlamaLM
from checkpoint_lens.llama.shape import LlamaShape
from checkpoint_lens.tokens import TokenizerSource
from mfi_command import BadInput

if TYPE_CHECKING:
    from checkpoint_lens.checkpoint import Checkpoint

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
FEED_FORWARD = ("gate_proj", "up_proj", "down_proj")
# Tables that old checkpoints carry and that the configuration determines.
_IGNORED = re.compile(r"rotary_emb\.(inv_freq|cos_cached|sin_cached)$")


def llama_from(checkpoint: Checkpoint, dtype: torch.dtype, tokenizer: TokenizerSource) -> LlamaLM:
    """Build the model that the checkpoint's configuration describes and fill it.

    Raises
    ------
    BadInput
        If a tensor is missing, superfluous, of another shape than the configuration gives, or holds a NaN or
        an infinity.
    """
    config = checkpoint.config or {}
    shape = LlamaShape.from_config(config)
    with torch.device("meta"):
        model = LlamaLM(shape, biased_layers(shape, checkpoint), config=config, tokenizer=tokenizer)
    wanted = dict(model.named_parameters())
    _same_names(checkpoint, wanted, tied=shape.tie_word_embeddings)
    _same_shapes(checkpoint, wanted)
    for name in wanted:
        values = as_torch(finite(checkpoint[name], name, str(checkpoint.path)), dtype)
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, nn.Parameter(values, requires_grad=False))
    return model.eval()


def biased_layers(shape: LlamaShape, checkpoint: Checkpoint) -> set[str]:
    """Which projections have a bias: those the configuration says, and those the checkpoint has one for."""
    names = {name.split(".")[-2] for name in checkpoint if name.endswith("_proj.bias")}
    if shape.attention_bias:
        names.update(ATTENTION)
    if shape.mlp_bias:
        names.update(FEED_FORWARD)
    return names


def _same_names(checkpoint: Checkpoint, wanted: Mapping[str, Any], *, tied: bool) -> None:
    missing = [name for name in wanted if name not in checkpoint]
    if missing:
        raise BadInput(f"{checkpoint.path} lacks {_some(missing)}, which its config.json calls for")
    placed = {*wanted, "lm_head.weight"} if tied else {*wanted}
    superfluous = [name for name in checkpoint if name not in placed and not _IGNORED.search(name)]
    if superfluous:
        raise BadInput(
            f"{checkpoint.path} holds {_some(superfluous)}, which a Llama-shaped model of its config.json "
            "has no place for"
        )


def _same_shapes(checkpoint: Checkpoint, wanted: Mapping[str, torch.Tensor]) -> None:
    infos = checkpoint.tensors
    for name, parameter in wanted.items():
        if infos[name].shape != tuple(parameter.shape):
            raise BadInput(
                f"{checkpoint.path}: tensor {name} has shape {infos[name].shape}, "
                f"its config.json gives {tuple(parameter.shape)}"
            )
        if infos[name].dtype.startswith(("int", "uint", "bool")):
            raise BadInput(
                f"{checkpoint.path}: tensor {name} holds {infos[name].dtype}; weights must be floats"
            )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"tensor {names[0]}{more}"


def finite(values: np.ndarray[Any, Any], name: str, where: str) -> np.ndarray[Any, Any]:
    """`values` as they are.

    Raises
    ------
    BadInput
        If one of them is NaN or infinite; the message names the tensor and the first such place.
    """
    good = np.isfinite(values)
    if not good.all():
        place = tuple(int(i) for i in np.argwhere(~good)[0])
        raise BadInput(
            f"{where}: tensor {name} holds {int((~good).sum())} values that are NaN or infinite, "
            f"the first at {place}; the checkpoint is damaged"
        )
    return values


def as_torch(values: np.ndarray[Any, Any], dtype: torch.dtype) -> torch.Tensor:
    """The same values as a tensor of `dtype`; bfloat16 goes over bit for bit, fp8 over float32."""
    if values.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(values.view(np.int16)).view(torch.bfloat16).to(dtype)
    if values.dtype.kind != "f":
        values = values.astype(np.float32)
    return torch.from_numpy(values).to(dtype)
