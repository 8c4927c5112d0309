"""Each operator of a forward pass on the roofline of a device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mfi_command import BadInput
from roofline.arguments import positive
from roofline.configs import read_config
from roofline.dtypes import dtype_name, stored_bytes
from roofline.hardware import Device
from roofline.hardware import device as find_device
from roofline.parallel import collectives, shard
from roofline.passes import forward, kv_cache_bytes, parameters
from roofline.placing import Placed, place
from roofline.shapes import ModelShape, model_shape
from roofline.sparse import sparse_looking
from roofline.work import Pass

PHASES = ("prefill", "decode")
_IN_DTYPE = ("lm_head", "router", "shared_gate")  # never quantized with the layers


@dataclass(frozen=True)
class Analysis:
    """A forward pass on a device; `operators` in the order of the model.

    `total_time_s` is the sum of the floors, one operator after the other. `memory_bytes` is weights plus
    cache; `fits` is None where the device's memory is not known. With `tensor_parallel` devices everything
    but `parameters` and `shape` is what one of them does and holds.
    """

    device: Device
    shape: ModelShape
    phase: str
    batch: int
    sequence: int
    dtype: str
    operators: tuple[Placed, ...]
    parameters: int
    weight_bytes: int
    kv_cache_bytes: int
    notes: tuple[str, ...] = ()
    tensor_parallel: int = 1

    @property
    def total_time_s(self) -> float:
        """Sum of the operators' times, seconds."""
        return sum(placed.time_s for placed in self.operators)

    @property
    def flop(self) -> int:
        """FLOP of the whole pass."""
        return sum(placed.operator.flop for placed in self.operators)

    @property
    def bytes(self) -> int:
        """Compulsory bytes of the whole pass, operator by operator."""
        return sum(o.operator.bytes for o in self.operators if o.operator.kind != "collective")

    @property
    def unfused_bytes(self) -> int:
        """Bytes where every elementary step is a kernel of its own."""
        return sum(o.operator.unfused_bytes for o in self.operators if o.operator.kind != "collective")

    @property
    def memory_bytes(self) -> int:
        """Weights and key-value cache."""
        return self.weight_bytes + self.kv_cache_bytes

    @property
    def fits(self) -> bool | None:
        """Whether weights and cache fit the device's memory."""
        return None if self.device.memory_bytes is None else self.memory_bytes <= self.device.memory_bytes

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "device": self.device.name,
            "phase": self.phase,
            "batch": self.batch,
            "sequence": self.sequence,
            "dtype": self.dtype,
            "operators": [placed.to_dict() for placed in self.operators],
            "total_time_s": self.total_time_s,
            "flop": self.flop,
            "bytes": self.bytes,
            "unfused_bytes": self.unfused_bytes,
            "tensor_parallel": self.tensor_parallel,
            "intensity": self.flop / self.bytes,
            "ridge_flop_per_byte": self.device.ridge_flop_per_byte(self.dtype),
            "parameters": self.parameters,
            "weight_bytes": self.weight_bytes,
            "kv_cache_bytes": self.kv_cache_bytes,
            "fits": self.fits,
            "notes": list(self.notes),
        }


def analyze(
    model: str | Path | Mapping[str, Any],
    *,
    device: str | Path | Device,
    batch: int = 1,
    sequence: int = 2048,
    phase: str = "prefill",
    dtype: str = "bf16",
    weight_dtype: str | None = None,
    kv_dtype: str | None = None,
    fused: bool = False,
    logits: str = "last",
    causal_skip: bool = True,
    tensor_parallel: int = 1,
) -> Analysis:
    """FLOP, bytes, bound and least time of every operator of one forward pass.

    Parameters
    ----------
    model
        The keys of a Hugging Face config.json, a path to one, a folder with one, or a name of
        `known_models()`.
    device
        As for `roofline.device`.
    batch, sequence
        Sequences, and positions of each. In "prefill" all positions are new; in "decode" one token of each
        sequence is new and its attention covers `sequence` positions, itself included.
    dtype, weight_dtype, kv_dtype
        Of arithmetic and activations; of the matrices of the layers and of the cache (`dtype` by default).
        Embeddings, norms and the head stay in `dtype`. Weight-only quantization (weight_dtype="int4") changes
        bytes, not the peak.
    fused
        q, k, v in one product and gate, up in one, as serving engines do.
    logits
        "last": the head runs on the last position of each sequence; "all": on every new one.
    causal_skip
        Count the causal triangle of attention; False counts the square that a masked implementation computes.
    tensor_parallel
        Devices that share each layer by heads and columns (Megatron's cut): two all-reduces a layer, and one
        gathering of the logits. The device needs `link_bytes_per_s`.

    Raises
    ------
    BadInput
        An unusable config (the key is named), size, dtype or device, or a rate that the device's table lacks.

    Notes
    -----
    Counts are whole numbers and exact for the operators listed; times are floors.
    Cost: some twenty operators are counted, whatever the sizes.

    Examples
    --------
    >>> from roofline import analyze
    >>> step = analyze("opt-30b", device="A100-80GB", batch=1, sequence=512, phase="decode", dtype="fp16")
    >>> {placed.bound for placed in step.operators}
    {'memory'}
    """
    if phase not in PHASES:
        raise BadInput(f"phase is {phase!r}, expected prefill or decode")
    if logits not in ("last", "all"):
        raise BadInput(f"logits is {logits!r}, expected last or all")
    short = dtype_name(dtype)
    whole, hardware = model_shape(read_config(model)), find_device(device)
    ways = positive("tensor_parallel", tensor_parallel, largest=1024)
    shape = shard(whole, ways)
    keys = positive("sequence", sequence)
    work = Pass(
        batch=positive("batch", batch),
        queries=keys if phase == "prefill" else 1,
        keys=keys,
        dtype=short,
        weight_dtype=dtype_name(weight_dtype or short),
        kv_dtype=dtype_name(kv_dtype or short),
        fused=fused,
        last_logits=logits == "last",
        causal_skip=causal_skip,
    )
    operators = [*forward(shape, work), *collectives(whole, work, ways)]
    return Analysis(
        device=hardware,
        shape=whole,
        phase=phase,
        batch=work.batch,
        sequence=keys,
        dtype=short,
        operators=tuple(place(operator, hardware, dtype=short) for operator in operators),
        parameters=parameters(whole),
        weight_bytes=weight_bytes(shape, work),
        kv_cache_bytes=kv_cache_bytes(shape, batch=work.batch, sequence=keys, kv_dtype=work.kv_dtype),
        notes=_notes(shape, hardware, keys, work),
        tensor_parallel=ways,
    )


def weight_bytes(shape: ModelShape, work: Pass) -> int:
    """Bytes of the stored weights: the matrices of the layers in `weight_dtype`, the rest in `dtype`."""
    total = parameters(shape)
    layers = forward(shape, replace(work, every_expert=True))
    layered = sum(o.weights for o in layers if o.kind == "matmul" and o.name not in _IN_DTYPE)
    return stored_bytes(layered, work.weight_dtype) + stored_bytes(total - layered, work.dtype)


def _notes(shape: ModelShape, hardware: Device, sequence: int, work: Pass) -> tuple[str, ...]:
    found = []
    if shape.max_sequence is not None and sequence > shape.max_sequence:
        found.append(f"sequence {sequence} is beyond the model's {shape.max_sequence} positions")
    shaky = {f"peaks.{work.dtype}", "peaks", "bandwidth"} & set(hardware.unverified)
    if shaky:
        found.append(f"{hardware.name}: {', '.join(sorted(shaky))} in the table has no second source")
    needed = weight_bytes(shape, work) + kv_cache_bytes(
        shape, batch=work.batch, sequence=sequence, kv_dtype=work.kv_dtype
    )
    if hardware.memory_bytes is not None and needed > hardware.memory_bytes:
        found.append(
            f"weights and cache take {needed / 1e9:.4g} GB,"
            f" {hardware.name} has {hardware.memory_bytes / 1e9:.4g} GB"
        )
    found += sparse_looking(hardware)
    if shape.experts:
        share = shape.experts.touched(work.tokens) / shape.experts.count
        found.append(
            f"{share:.0%} of the experts' weights are read: what {work.tokens} tokens touch by chance"
        )
    return tuple(found)
