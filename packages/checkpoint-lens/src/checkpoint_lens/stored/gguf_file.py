"""GGUF: blocks dequantized one tensor at a time, names and row order as in Hugging Face's checkpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from gguf.constants import GGMLQuantizationType as Kind
from gguf.quants import dequantize

from checkpoint_lens.checkpoint import TensorInfo
from checkpoint_lens.stored.gguf_header import GGUFTensor, read_header
from checkpoint_lens.stored.gguf_names import ROPE_FACTORS, config_of, hugging_face_name
from checkpoint_lens.stored.raw import read_array
from mfi_command import BadInput

_PLAIN: dict[Kind, np.dtype[Any]] = {
    Kind.F64: np.dtype(np.float64),
    Kind.F32: np.dtype(np.float32),
    Kind.F16: np.dtype(np.float16),
    Kind.BF16: np.dtype(ml_dtypes.bfloat16),
    Kind.I8: np.dtype(np.int8),
    Kind.I16: np.dtype(np.int16),
    Kind.I32: np.dtype(np.int32),
    Kind.I64: np.dtype(np.int64),
}


class GGUFFile:
    """One GGUF file under Hugging Face's names."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header = read_header(path)
        self._inside = {hugging_face_name(name): name for name in self.header.tensors if name != ROPE_FACTORS}
        if len(self._inside) < len(self.header.tensors) - (ROPE_FACTORS in self.header.tensors):
            raise BadInput(f"{path}: two tensors have the same name")

    @cached_property
    def infos(self) -> Mapping[str, TensorInfo]:
        """Every tensor; the dtype is the block format."""
        return {name: self._info(name, self.header.tensors[inside]) for name, inside in self._inside.items()}

    def _info(self, name: str, tensor: GGUFTensor) -> TensorInfo:
        dtype = _PLAIN[tensor.kind].name if tensor.kind in _PLAIN else tensor.kind.name
        return TensorInfo(name, tensor.shape, dtype, tensor.nbytes)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The keys of config.json that the metadata determines."""
        factors = None
        if ROPE_FACTORS in self.header.tensors:
            factors = [float(value) for value in self._values(ROPE_FACTORS)]
        return config_of(self.header, factors)

    def read(self, name: str) -> np.ndarray[Any, Any]:
        """The values of one tensor; quantized blocks come as float32."""
        values = self._values(self._inside[name])
        heads = self._interleaved_heads(name)
        return values if heads is None else _apart(values, heads)

    def _values(self, inside: str) -> np.ndarray[Any, Any]:
        tensor = self.header.tensors[inside]
        if tensor.kind in _PLAIN:
            return read_array(self.path, tensor.offset, _PLAIN[tensor.kind], tensor.shape)
        raw = read_array(self.path, tensor.offset, np.dtype(np.uint8), (tensor.nbytes,))
        try:
            # The package works through 16 rows at a time: on longer rows it spends its time on arithmetic.
            merged = raw.reshape(tensor.shape[0] // math.gcd(tensor.shape[0], 64), -1)
            return dequantize(merged, tensor.kind).reshape(tensor.shape)
        except NotImplementedError as error:
            raise BadInput(
                f"{self.path}: tensor {inside} is {tensor.kind.name}, which gguf cannot dequantize"
            ) from error

    def _interleaved_heads(self, name: str) -> int | None:
        """How many heads the rows hold if they are pairs side by side, as llama.cpp turns them."""
        if self.config["model_type"] != "llama":
            return None
        if ".q_proj." in name:
            return self._heads("num_attention_heads")
        if ".k_proj." in name:
            return self._heads("num_key_value_heads") or self._heads("num_attention_heads")
        return None

    def _heads(self, key: str) -> int | None:
        heads = self.config.get(key)
        if heads is not None and (not isinstance(heads, int) or heads <= 0):
            raise BadInput(f"{self.path}: {key} must be one positive number, not {heads!r}")
        return heads


def _apart(values: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """Rows (head, i, pair) to (head, pair, i): the two of a rotary pair stand half a head apart again."""
    rows = values.shape[0]
    if rows % (2 * heads):
        raise BadInput(f"{rows} rows do not divide into {heads} heads of pairs")
    pairs = values.reshape(heads, rows // heads // 2, 2, *values.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(values.shape)
