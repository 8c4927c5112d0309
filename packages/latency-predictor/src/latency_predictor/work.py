"""What the passes of one model compute and move, for many sizes at once.

`roofline.analyze` counts one pass; here its counts become formulas in the number of sequences, new tokens and
positions, by counting a few small passes and reading the coefficients off them. The tests hold the formulas
to `analyze`, to the byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latency_predictor.sharding import sharded
from mfi_command import BadInput
from roofline import Analysis, Device, ModelShape, analyze, read_config

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# A device that can hold everything and has every rate: counts do not depend on it.
_COUNTER = Device("counter", dict.fromkeys(("bf16", "fp16", "fp8", "fp32", "int8", "tf32"), 1e15), 1e12)
_BITS = {"int4": 4, "int8": 8, "fp8": 8, "bf16": 16, "fp16": 16, "fp32": 32, "tf32": 32, "fp64": 64}


@dataclass(frozen=True)
class Affine:
    """a + tokens * new tokens of all sequences + batch * sequences."""

    constant: float
    tokens: float
    batch: float

    def at(self, tokens: Floats, batch: Floats) -> Floats:
        """Values for arrays of sizes."""
        return self.constant + self.tokens * tokens + self.batch * batch


@dataclass(frozen=True)
class Flow:
    """An operator whose work is affine in tokens and sequences: a product, a vector operator or a gather.

    `bytes` and `flop` are of one of `count` runs; `rows` is the m of a product with `columns` n and `inner`
    k.
    """

    name: str
    kind: str
    count: int
    bytes: Affine
    flop: Affine
    rows: Affine
    columns: int
    inner: int


@dataclass(frozen=True)
class Attention:
    """Attention of `count` layers over a cache, with a window or without."""

    count: int
    heads: int
    kv_heads: int
    head_dim: int
    window: int | None


@dataclass(frozen=True)
class ModelWork:
    """Operators of a model, and what it keeps in memory.

    Attributes
    ----------
    flows, attentions
        The operators of a pass.
    parameters
        Of one device's part.
    weight_bytes
        Stored weights.
    kv_bytes_per_position
        Of one sequence, for layers without a window.
    bits
        (activations, cache), of an element.
    parts
        Devices the model is spread over (tensor parallel).
    """

    name: str
    shape: ModelShape
    flows: tuple[Flow, ...]
    attentions: tuple[Attention, ...]
    parameters: int
    weight_bytes: int
    bits: tuple[int, int]
    dtype: str
    parts: int

    def memory_bytes(self, batch: Floats, positions: Floats) -> Floats:
        """Weights and cache of one device."""
        import numpy as np

        held: Floats = np.zeros_like(positions)
        for one in self.attentions:
            reach = positions if one.window is None else np.minimum(one.window, positions)
            held = held + one.count * reach
        width = self.attentions[0].kv_heads * self.attentions[0].head_dim
        return self.weight_bytes + 2 * held * batch * width * self.bits[1] / 8


def model_work(
    model: str | Path | Mapping[str, Any],
    *,
    dtype: str = "bf16",
    weight_dtype: str | None = None,
    kv_dtype: str | None = None,
    fused: bool = False,
    parts: int = 1,
) -> ModelWork:
    """Count a model once, for all sizes.

    Raises
    ------
    BadInput
        What `roofline.analyze` refuses, sizes that `parts` does not divide, or a model whose work is not
        affine in its tokens.

    Notes
    -----
    Five calls of `analyze`, a millisecond or two.
    """
    config = sharded(read_config(model), parts)
    options = {"dtype": dtype, "weight_dtype": weight_dtype, "kv_dtype": kv_dtype, "fused": fused}

    def count(batch: int, sequence: int) -> Analysis:
        return analyze(config, device=_COUNTER, batch=batch, sequence=sequence, phase="prefill", **options)  # type: ignore[arg-type]

    # (tokens, sequences) = (2, 1), (4, 2), (4, 1): three equations for each operator's three unknowns.
    probes = [count(1, 2), count(2, 2), count(1, 4)]
    check = count(16, 64)
    flows = []
    for number, placed in enumerate(probes[0].operators):
        if placed.operator.kind == "attention":
            continue
        flow = _flow([probe.operators[number].operator for probe in probes])
        wanted = check.operators[number].operator.bytes / placed.operator.count
        if abs(float(flow.bytes.constant + 1024 * flow.bytes.tokens + 16 * flow.bytes.batch) - wanted) > 1:
            raise BadInput(
                f"{flow.name}: its bytes do not grow evenly with the tokens (a mixture of experts?);"
                " only dense models are predicted"
            )
        flows.append(flow)
    shape = probes[0].shape
    attentions = tuple(
        Attention(layers, shape.heads, shape.kv_heads, shape.head_dim, window)
        for window, layers in shape.windows.items()
    )
    short = probes[0].dtype
    return ModelWork(
        name=str(model) if not isinstance(model, Mapping) else shape.model_type,
        shape=shape,
        flows=tuple(flows),
        attentions=attentions,
        parameters=probes[0].parameters,
        weight_bytes=probes[0].weight_bytes,
        bits=(_BITS[short], _BITS[_short(kv_dtype, short)]),
        dtype=short,
        parts=parts,
    )


def _short(dtype: str | None, default: str) -> str:
    from roofline.dtypes import dtype_name

    return default if dtype is None else dtype_name(dtype)


def _flow(seen: list[Any]) -> Flow:
    def solve(values: list[float]) -> Affine:
        small, wide, long = values
        tokens = (long - small) / 2
        batch = wide - small - 2 * tokens
        return Affine(small - 2 * tokens - batch, tokens, batch)

    first, count = seen[0], seen[0].count
    product = first.kind == "matmul"
    return Flow(
        name=first.name,
        kind=first.kind,
        count=count,
        bytes=solve([one.bytes / count for one in seen]),
        flop=solve([one.flop / count for one in seen]),
        rows=solve([one.sizes[0] for one in seen]),
        columns=first.sizes[1] if product else 0,
        inner=first.sizes[2] if product else 0,
    )
