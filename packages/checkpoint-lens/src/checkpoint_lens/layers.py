"""Which tensors are linear layers, and what each one does in its block."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

ROLES = {
    "q_proj": "q",
    "k_proj": "k",
    "v_proj": "v",
    "o_proj": "o",
    "gate_proj": "gate",
    "up_proj": "up",
    "down_proj": "down",
    "lm_head": "lm_head",
}
_ORDER = {role: place for place, role in enumerate((*ROLES.values(), "other"))}
# An embedding is a table of rows looked up, never multiplied from the left by a batch.
_EMBEDDING = re.compile(
    r"(^|[._])(embed(?!_out)|wte|wpe|tok_embeddings|shared|relative_attention_bias)", re.IGNORECASE
)
_NORM = re.compile(r"(norm|ln_\w+|ln)$", re.IGNORECASE)
# GPT-2's Conv1D stores (in, out): reporting it as (out, in) would mislead every reader.
_TRANSPOSED = {"gpt2": {"c_attn", "c_proj", "c_fc"}}


@dataclass(frozen=True)
class LinearLayer:
    """One linear layer: y = x W^T with W of `shape` (out, in).

    `name` is the module path ("model.layers.0.self_attn.q_proj"), `tensor` the name of W in the checkpoint,
    `role` one of q k v o gate up down lm_head other, `block` the number of its block or None.
    """

    name: str
    tensor: str
    shape: tuple[int, int]
    role: str
    block: int | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


def is_embedding(name: str) -> bool:
    """Whether the module of this path is a table of rows that are looked up."""
    return bool(_EMBEDDING.search(name))


def is_norm(name: str) -> bool:
    """Whether the module of this path is a normalization."""
    return bool(_NORM.search(name))


def role_of(name: str) -> str:
    """What the layer with this module path does: q k v o gate up down lm_head, or other."""
    return ROLES.get(name.rpartition(".")[2], "other")


def block_of(name: str) -> int | None:
    """The number of the block that the module path names, None outside the blocks."""
    number = re.search(r"\.(\d+)(\.|$)", name)
    return int(number[1]) if number else None


def linear_layers(shapes: Mapping[str, tuple[int, ...]], config: Mapping[str, Any]) -> list[LinearLayer]:
    """The linear layers among tensors of these names and shapes, in the order of the forward pass.

    `config` tells of tied embeddings: a tied head is no layer of its own.
    """
    transposed = _TRANSPOSED.get(str(config.get("model_type")), set())
    tied = bool(config.get("tie_word_embeddings", False))
    found = []
    for tensor, shape in shapes.items():
        name, _, kind = tensor.rpartition(".")
        last = name.rpartition(".")[2]
        if kind != "weight" or len(shape) != 2 or last in transposed:
            continue
        if is_embedding(name) or is_norm(name) or (tied and last == "lm_head"):
            continue
        found.append(LinearLayer(name, tensor, (shape[0], shape[1]), role_of(name), block_of(name)))
    # A file may hold them in any order; a reader wants the order of the forward pass.
    return sorted(found, key=lambda layer: (layer.block is None, layer.block or 0, _ORDER[layer.role]))
