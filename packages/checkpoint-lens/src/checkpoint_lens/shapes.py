"""How matrices are stored: transposed, stacked by expert, several fused into one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from checkpoint_lens.checkpoint import TensorInfo

Array = np.ndarray[Any, Any]
FUSED_QKV = ("c_attn", "qkv_proj", "Wqkv", "query_key_value", "qkv")
BY_HEAD = ("query_key_value",)  # rows go head by head: q, k, v of the first, then of the second
CONV1D = ("gpt2", "openai-gpt", "imagegpt", "decision_transformer")
# Stacks stored (experts, in, out), gate and up in turn or one after the other.
TRANSPOSED_EXPERTS = ("gpt_oss", "llama4", "llama4_text")
INTERLEAVED = ("gpt_oss",)


@dataclass(frozen=True)
class Cut:
    """Some of the outputs: `start, stop, step`, or third number `start` of each of `heads`."""

    start: int
    stop: int
    step: int = 1
    heads: int | None = None

    def of(self, matrix: Array) -> Array:
        """These rows of (out, in)."""
        if self.heads is None:
            return matrix[self.start : self.stop : self.step]
        split = matrix.reshape(self.heads, 3, -1, matrix.shape[1])[:, self.start]
        return split.reshape(-1, matrix.shape[1])

    def count(self, out: int) -> int:
        """How many of `out` rows."""
        return len(range(self.start, self.stop, self.step)) if self.heads is None else out // 3


def is_conv1d(infos: Mapping[str, TensorInfo], config: Mapping[str, Any]) -> bool:
    """Whether c_attn, c_proj, c_fc are stored (in, out); without a configuration, by the shape of c_attn."""
    kind = config.get("model_type")
    if kind is not None:
        return kind in CONV1D
    fused = [info.shape for name, info in infos.items() if name.endswith("c_attn.weight")]
    return bool(fused) and all(len(shape) == 2 and shape[1] == 3 * shape[0] for shape in fused)


def expert_is_transposed(last: str, shape: tuple[int, ...], config: Mapping[str, Any]) -> bool:
    """Whether a stack of experts is stored (experts, in, out)."""
    kind, hidden = config.get("model_type"), config.get("hidden_size")
    rows, columns = shape[1:]
    if hidden is None or rows == columns or hidden not in (rows, columns):
        return kind in TRANSPOSED_EXPERTS
    closes = last.startswith(("down", "w2", "output", "wo"))  # its outputs are the hidden state
    return bool((columns if closes else rows) == hidden)


def parts_of(last: str, out: int, config: Mapping[str, Any]) -> list[tuple[str | None, Cut | None]]:
    """Roles and rows of a fused matrix; [(None, None)] where it is not one, or its rows are unknown."""
    whole: list[tuple[str | None, Cut | None]] = [(None, None)]
    if last in ("gate_up_proj", "w13") and out % 2 == 0:
        if config.get("model_type") in INTERLEAVED:
            return [("gate", Cut(0, out, 2)), ("up", Cut(1, out, 2))]
        return [("gate", Cut(0, out // 2)), ("up", Cut(out // 2, out))]
    if last not in FUSED_QKV:
        return whole
    heads = config.get("num_attention_heads") or config.get("n_head") or config.get("n_heads")
    if last in BY_HEAD:
        grouped = any(config.get(key) for key in ("num_kv_heads", "multi_query", "new_decoder_architecture"))
        if grouped or not heads or out % (3 * heads):
            return whole
        return [(role, Cut(at, at + 1, heads=heads)) for at, role in enumerate("qkv")]
    query, key = _sizes(out, heads, config.get("num_key_value_heads") or heads)
    if not query:
        return whole
    return [
        ("q", Cut(0, query)),
        ("k", Cut(query, query + key)),
        ("v", Cut(query + key, out)),
    ]


def _sizes(out: int, heads: Any, kv_heads: Any) -> tuple[int, int]:
    if not heads:
        return (out // 3, out // 3) if out % 3 == 0 else (0, 0)
    width, rest = divmod(out, heads + 2 * kv_heads)
    return (0, 0) if rest else (heads * width, kv_heads * width)
