"""Each operator of a forward pass on the roofline of a device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mfi_command import BadInput
from roofline.arguments import positive
from roofline.configs import read_config
from roofline.dtypes import dtype_name, stored_bytes
from roofline.hardware import Device
from roofline.hardware import device as find_device
from roofline.operators import Operator
from roofline.passes import Pass, forward, kv_cache_bytes, parameters
from roofline.shapes import ModelShape, model_shape

PHASES = ("prefill", "decode")


@dataclass(frozen=True)
class Placed:
    """An operator with its place on the roofline.

    Attributes
    ----------
    operator
        What it computes and moves.
    bound
        "compute" at or above the ridge of the peak it uses, "memory" below.
    time_s
        max(flop / peak, bytes / bandwidth): a floor, what perfect kernels would take.
    peak_flop_per_s
        The ceiling used: the matrix rate of the dtype, or the fp32 vector rate for vector operators.
    """

    operator: Operator
    bound: str
    time_s: float
    peak_flop_per_s: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**self.operator.to_dict(), "bound": self.bound, "time_s": self.time_s}


@dataclass(frozen=True)
class Analysis:
    """A forward pass on a device; `operators` in the order of the model.

    `total_time_s` is the sum of the floors, one operator after the other. `memory_bytes` is weights plus
    cache; `fits` is None where the device's memory is not known.
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
        return sum(placed.operator.bytes for placed in self.operators)

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
            "intensity": self.flop / self.bytes,
            "ridge_flop_per_byte": self.device.ridge_flop_per_byte(self.dtype),
            "parameters": self.parameters,
            "weight_bytes": self.weight_bytes,
            "kv_cache_bytes": self.kv_cache_bytes,
            "fits": self.fits,
            "notes": list(self.notes),
        }


def place(operator: Operator, device: Device, *, dtype: str) -> Placed:
    """Put an operator on the roofline of `device`.

    Matrix products and attention use the peak of `dtype`; vector operators the fp32 vector peak where the
    table has one, since they do not run on matrix units.
    """
    kind = "fp32" if operator.kind in ("vector", "gather") and "fp32" in device.peaks_flop_per_s else dtype
    peak = device.peak_flop_per_s(kind)
    compute_s, memory_s = operator.flop / peak, operator.bytes / device.bandwidth_bytes_per_s
    bound = "compute" if compute_s >= memory_s else "memory"
    return Placed(operator, bound, max(compute_s, memory_s), peak)


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
    shape, hardware = model_shape(read_config(model)), find_device(device)
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
    return Analysis(
        device=hardware,
        shape=shape,
        phase=phase,
        batch=work.batch,
        sequence=keys,
        dtype=short,
        operators=tuple(place(operator, hardware, dtype=short) for operator in forward(shape, work)),
        parameters=parameters(shape),
        weight_bytes=weight_bytes(shape, work),
        kv_cache_bytes=kv_cache_bytes(shape, batch=work.batch, sequence=keys, kv_dtype=work.kv_dtype),
        notes=_notes(shape, hardware, keys, work),
    )


def weight_bytes(shape: ModelShape, work: Pass) -> int:
    """Bytes of the stored weights: the matrices of the layers in `weight_dtype`, the rest in `dtype`."""
    total = parameters(shape)
    layered = sum(o.weights for o in forward(shape, work) if o.kind == "matmul" and o.name != "lm_head")
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
    return tuple(found)
