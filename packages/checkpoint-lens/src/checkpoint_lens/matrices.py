"""Every matrix of a checkpoint that a quantizer would change, and why each other tensor is left alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from checkpoint_lens.layers import is_embedding, is_norm
from checkpoint_lens.scaled import FLOAT8, SCALE_NAMES, dequantized, scale_of
from checkpoint_lens.shapes import Cut, expert_is_transposed, is_conv1d, parts_of

if TYPE_CHECKING:
    from checkpoint_lens.checkpoint import Checkpoint, TensorInfo

Array = np.ndarray[Any, Any]
# Files of quantized models: the names that appear together in place of one weight.
PACKED = {
    "GPTQ or AWQ": ("qweight", "qzeros", "scales", "g_idx"),
    "compressed-tensors": (
        "weight_packed",
        "weight_scale",
        "weight_shape",
        "weight_zero_point",
        "weight_g_idx",
    ),
    "bitsandbytes": ("weight.absmax", "weight.quant_map", "weight.nested_absmax", "weight.nested_quant_map"),
    "MXFP4": ("_blocks", "_scales"),
}
_FLOATS = ("float64", "float32", "float16", "bfloat16", *FLOAT8)


@dataclass(frozen=True)
class WeightMatrix:
    """One matrix: y = x W^T with W of `shape` (out, in), whatever the storage.

    Attributes
    ----------
    name
        Path of the module; an expert of a stack adds its number, a part of a fused matrix its role.
    tensor
        The tensor that holds it, and `scale` the one that it is multiplied with (fp8), or None.
    shape
        (out, in).
    dtype
        As stored: "bfloat16", "float8_e4m3fn", "Q4_K", ...
    expert
        Its place in a stack (experts, ., .), or None.
    transposed
        Stored as (in, out).
    cut
        Which of the outputs, where several matrices are stored as one.
    """

    name: str
    tensor: str
    shape: tuple[int, int]
    dtype: str
    scale: str | None = None
    expert: int | None = None
    transposed: bool = False
    cut: Cut | None = None

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return self.shape[0] * self.shape[1]

    @property
    def quantized_already(self) -> bool:
        """Whether the stored numbers are those of a quantizer: they sit on its grid."""
        return self.dtype not in ("float64", "float32", "float16", "bfloat16")

    def of(self, values: Array) -> Array:
        """This matrix (out, in) out of the values of its tensor; a view where that is possible."""
        found = values if self.expert is None else values[self.expert]
        found = found.T if self.transposed else found
        return found if self.cut is None else self.cut.of(found)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class LeftOut:
    """A tensor that no quantizer of linear layers changes, and why."""

    tensor: str
    parameters: int
    reason: str


@dataclass(frozen=True)
class Inventory:
    """All parameters of a checkpoint: those in matrices and those left out add up."""

    matrices: tuple[WeightMatrix, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def parameters(self) -> int:
        """Numbers stored in the checkpoint."""
        return sum(each.parameters for each in self.matrices) + sum(each.parameters for each in self.left_out)

    def by_tensor(self) -> dict[str, list[WeightMatrix]]:
        """The matrices of each tensor: it is read once for all of them."""
        found: dict[str, list[WeightMatrix]] = {}
        for matrix in self.matrices:
            found.setdefault(matrix.tensor, []).append(matrix)
        return found


def weight_matrices(checkpoint: Checkpoint) -> Inventory:
    """Every matrix that a quantizer would change, from the headers alone.

    Stacks of experts are taken apart, q, k, v and gate, up as well where the configuration says how; GPT-2's
    (in, out) is turned around. Embeddings, norms, vectors, scales and what is packed by a quantizer are left
    out, each with a reason.

    Raises
    ------
    BadInput
        If an fp8 tensor has no scale under any of the usual names: its numbers alone are not the weights.
    """
    infos = checkpoint.tensors
    config = text_config(checkpoint.config or {})
    packed = _packed(infos)
    scales = {
        scale_of(name, infos, str(checkpoint.path)): name
        for name, info in infos.items()
        if info.dtype in FLOAT8 and len(info.shape) >= 2 and name not in packed
    }
    conv1d = is_conv1d(infos, config)
    matrices: list[WeightMatrix] = []
    left: list[LeftOut] = []
    for name, info in infos.items():
        reason = packed.get(name) or _reason(name, info, scales, config)
        if reason is not None:
            left.append(LeftOut(name, math.prod(info.shape), reason))
            continue
        scale = next((each for each, of in scales.items() if of == name), None)
        matrices += _matrices_of(info, scale, config, conv1d)
    return Inventory(tuple(matrices), tuple(left))


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a configuration that describes the language model."""
    inner = config.get("text_config")
    return {**config, **inner} if isinstance(inner, Mapping) else config


def read_tensor(checkpoint: Checkpoint, matrix: WeightMatrix) -> Array:
    """The values of the matrix's whole tensor; fp8 comes multiplied with its scale, as float32."""
    values = checkpoint[matrix.tensor]
    if matrix.scale is None:
        return values
    return dequantized(values, checkpoint[matrix.scale], matrix.tensor)


def _reason(
    name: str,
    info: TensorInfo,
    scales: Mapping[str, str],
    config: Mapping[str, Any],
) -> str | None:
    """Why this tensor is no matrix of a linear layer; None when it is."""
    stem = name.removesuffix(".weight")
    if name in scales or name.endswith(SCALE_NAMES):
        return "scale"
    if math.prod(info.shape) == 0:
        return "empty"
    if len(info.shape) < 2:
        return "scalar" if not info.shape else "vector"
    if info.dtype.startswith(("int", "uint", "bool")):
        return "integers"
    if is_embedding(stem):
        return "embedding"
    if is_norm(stem):
        return "norm"
    if config.get("tie_word_embeddings") and stem.rpartition(".")[2] == "lm_head":
        return "tied to the embedding"
    if len(info.shape) > 3 or (len(info.shape) == 3 and "expert" not in name):
        return "convolution"
    # A 2-d tensor without `.weight` is a buffer or a table, but for stacks of experts.
    return None if name.endswith(".weight") or len(info.shape) == 3 or "expert" in name else "table"


def _matrices_of(
    info: TensorInfo, scale: str | None, config: Mapping[str, Any], conv1d: bool
) -> list[WeightMatrix]:
    stem = info.name.removesuffix(".weight")
    last = stem.rpartition(".")[2]
    if len(info.shape) == 3:
        transposed = expert_is_transposed(last, info.shape, config)
        prefix = stem.rpartition(".")[0]
        stack: list[tuple[str, int | None]] = [
            (f"{prefix}.{number}.{last}", number) for number in range(info.shape[0])
        ]
    else:
        transposed = conv1d and last in ("c_attn", "c_proj", "c_fc", "q_attn")
        stack = [(stem, None)]
    out, into = info.shape[-2:][:: -1 if transposed else 1]
    parts = parts_of(last, out, config)
    found = []
    for name, expert in stack:
        for role, cut in parts:
            label = name if role is None else f"{name}.{role}"
            height = out if cut is None else cut.count(out)
            found.append(
                WeightMatrix(label, info.name, (height, into), info.dtype, scale, expert, transposed, cut)
            )
    return found


def _packed(infos: Mapping[str, TensorInfo]) -> dict[str, str]:
    """Tensors of packed weights with what packed them."""
    found = {}
    for maker, endings in PACKED.items():
        first = endings[0]
        stems = [name.removesuffix(first) for name in infos if name.endswith(first)]
        for stem in stems:
            names = [stem + ending for ending in endings if stem + ending in infos]
            if maker == "bitsandbytes":
                names += [name for name in infos if name.startswith(f"{stem}weight")]
            found.update(dict.fromkeys(names, f"already quantized: {maker}"))
    for name, info in infos.items():
        # compressed-tensors stores int8 unpacked, with the scale beside it.
        if info.dtype == "int8" and name.endswith("weight") and f"{name}_scale" in infos:
            companions = [name, f"{name}_scale", f"{name}_zero_point"]
            found.update(
                {each: "already quantized: compressed-tensors" for each in companions if each in infos}
            )
    return found
