"""What a change would gain, calculated: another bandwidth, another format, operators fused, more
sequences.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mfi_command import BadInput
from roofline.analysis import Analysis, analyze
from roofline.dtypes import stored_bytes
from roofline.hardware import Device
from roofline.hardware import device as find_device
from roofline.operators import Operator
from roofline.placing import place

_KINDS = ("bandwidth", "peak", "launch", "dtype", "weights", "kv", "fuse", "batch")
_LARGEST_FACTOR = 1e6


@dataclass(frozen=True)
class Gain:
    """One change: the analysis under it, and how much less time the floor is.

    `speed_up` is time before / time after; below 1 the change costs time. `per_sequence_speed_up` divides
    both by the sequences at once, which tells something where the batch changed.
    """

    change: str
    analysis: Analysis
    speed_up: float
    per_sequence_speed_up: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "change": self.change,
            "total_time_s": self.analysis.total_time_s,
            "bytes": self.analysis.bytes,
            "flop": self.analysis.flop,
            "speed_up": self.speed_up,
            "per_sequence_speed_up": self.per_sequence_speed_up,
            "bound_share": bound_shares(self.analysis),
            "fits": self.analysis.fits,
        }


def bound_shares(analysis: Analysis) -> dict[str, float]:
    """Which part of the time is bound by what."""
    shares: dict[str, float] = {}
    for placed in analysis.operators:
        shares[placed.bound] = shares.get(placed.bound, 0.0) + placed.time_s / analysis.total_time_s
    return shares


def what_if(
    model: str | Path | Mapping[str, Any],
    changes: Sequence[str],
    *,
    device: str | Path | Device,
    **options: Any,
) -> tuple[Analysis, list[Gain]]:
    """The floor of a forward pass under each of several changes, one at a time and the last with all of them.

    Parameters
    ----------
    model, device, options
        As for `roofline.analyze`.
    changes
        `"bandwidth=2"`, `"peak=1.5"`, `"launch=0.5"`: the device's figure times so much. `"dtype=fp8"`,
        `"weights=int4"`, `"kv=fp8"`: another format. `"batch=16"`: so many sequences. `"fuse=A+B"`: operators
        by name in one kernel, so that what one hands to the next never reaches memory.

    Returns
    -------
    (Analysis, list of Gain)
        Before, and after each change; with several changes the last entry has all of them.

    Raises
    ------
    BadInput
        An unknown change or operator, or what `analyze` refuses.

    Examples
    --------
    >>> from roofline import what_if
    >>> before, gains = what_if("llama-3-8b", ["bandwidth=2"], device="H100", phase="decode")
    >>> round(gains[0].speed_up, 2)
    2.0
    """
    if not changes:
        raise BadInput(f"no change given; changes are {', '.join(f'{kind}=...' for kind in _KINDS)}")
    hardware = find_device(device)
    parsed = [_parsed(change) for change in changes]
    before = analyze(model, device=hardware, **options)
    sets = [[one] for one in parsed] + ([parsed] if len(parsed) > 1 else [])
    gains = []
    for some in sets:
        after = _changed(model, hardware, options, some)
        gains.append(
            Gain(
                change=" and ".join(f"{kind}={value}" for kind, value in some),
                analysis=after,
                speed_up=before.total_time_s / after.total_time_s,
                per_sequence_speed_up=before.total_time_s * after.batch / (after.total_time_s * before.batch),
            )
        )
    return before, gains


def _parsed(change: str) -> tuple[str, str]:
    kind, mark, value = change.replace(" ", "").partition("=")
    if kind not in _KINDS or not mark or not value:
        raise BadInput(f"change {change!r}: expected one of {', '.join(f'{known}=...' for known in _KINDS)}")
    return kind, value


def _changed(
    model: Any, device: Device, options: Mapping[str, Any], changes: list[tuple[str, str]]
) -> Analysis:
    given = dict(options)
    fusions = []
    for kind, value in changes:
        if kind in ("bandwidth", "peak", "launch"):
            device = _scaled(device, kind, _factor(kind, value))
        elif kind == "batch":
            if not value.isdigit():
                raise BadInput(f"change batch={value}: expected a positive whole number")
            given["batch"] = int(value)
        elif kind == "fuse":
            fusions.append(value.split("+"))
        else:
            given[{"dtype": "dtype", "weights": "weight_dtype", "kv": "kv_dtype"}[kind]] = value
    found = analyze(model, device=device, **given)
    for names in fusions:
        found = _fused(found, names)
    return found


def _factor(kind: str, value: str) -> float:
    try:
        factor = float(value.removeprefix("x"))
    except ValueError:
        factor = math.nan
    if not 0 < factor <= _LARGEST_FACTOR:
        raise BadInput(f"change {kind}={value}: expected a factor such as 2 or 0.5")
    return factor


def _scaled(device: Device, kind: str, factor: float) -> Device:
    if kind == "bandwidth":
        return replace(device, bandwidth_bytes_per_s=device.bandwidth_bytes_per_s * factor)
    if kind == "peak":
        peaks = {dtype: rate * factor for dtype, rate in device.peaks_flop_per_s.items()}
        return replace(device, peaks_flop_per_s=peaks)
    if device.launch_s is None:
        raise BadInput(f"{device.name} has no launch time; `roofline measure` finds one")
    return replace(device, launch_s=device.launch_s * factor)


def _fused(analysis: Analysis, names: Sequence[str]) -> Analysis:
    """The analysis with the named operators as one."""
    known = {placed.operator.name: placed.operator for placed in analysis.operators}
    missing = [name for name in names if name not in known]
    if missing or len(set(names)) < 2:
        raise BadInput(
            f"fuse={'+'.join(names)}: {', '.join(missing) or 'one name'} is no pair of operators here;"
            f" they are {', '.join(known)}"
        )
    one = fuse([known[name] for name in names], dtype=analysis.dtype)
    kept = []
    for placed in analysis.operators:
        if placed.operator.name == names[-1]:
            kept.append(place(one, analysis.device, dtype=analysis.dtype))
        elif placed.operator.name not in names:
            kept.append(placed)
    return replace(analysis, operators=tuple(kept))


def fuse(operators: Sequence[Operator], *, dtype: str) -> Operator:
    """Operators in one kernel: every result but the last one's stays on the chip, not written and not read.

    The last one must read the results of the others; what it reads of them is at most what it reads at all.

    Raises
    ------
    BadInput
        They do not run equally often, or hand over more than the last one moves.
    """
    *makers, user = operators
    if len({operator.count for operator in operators}) > 1:
        raise BadInput(f"fuse={'+'.join(o.name for o in operators)}: they do not run equally often")
    handed = sum(stored_bytes(_results(maker), dtype) * maker.count for maker in makers)
    if handed > user.bytes:
        raise BadInput(f"{user.name} moves less than the others hand over: it does not read their results")
    largest = max(operators, key=lambda operator: operator.flop)
    return Operator(
        "+".join(operator.name for operator in operators),
        largest.kind,
        user.count,
        sum(operator.flop for operator in operators),
        sum(operator.bytes for operator in operators) - 2 * handed,
        sum(operator.weights for operator in operators),
        largest.sizes,
        sum(operator.bytes for operator in operators),
    )


def fusion_speed_up(operators: Sequence[Operator], *, dtype: str, write_allocate: bool = False) -> float:
    """How much faster operators bound by memory are in one kernel: the ratio of the bytes they move.

    Parameters
    ----------
    operators
        As for `fuse`: the last one reads the results of the others.
    dtype
        Of what they hand over.
    write_allocate
        Count one more read for each result, which a CPU's cache fetches before it is overwritten. A GPU's L2
        does not, and streaming stores do not.

    Examples
    --------
    >>> from roofline import fusion_speed_up, operators
    >>> silu = operators.activation("silu", 10**6, form="silu", gated=False, dtype="bf16")
    >>> product = operators.vector("product", 10**6, flop_per_element=1, dtype="bf16", inputs=2)
    >>> round(fusion_speed_up([silu, product], dtype="bf16"), 3)  # five transfers become three
    1.667
    """
    together = fuse(operators, dtype=dtype)
    fetched = [stored_bytes(_results(one), dtype) * one.count if write_allocate else 0 for one in operators]
    apart = sum(one.bytes for one in operators) + sum(fetched)
    return apart / (together.bytes + fetched[-1])


def _results(operator: Operator) -> int:
    """Elements that one run writes."""
    if operator.kind == "matmul":
        return operator.sizes[0] * operator.sizes[1]
    if operator.kind == "attention":
        batch, queries, _, heads, _, width = operator.sizes
        return batch * queries * heads * width
    return operator.sizes[0]


def batch_sweep(
    model: str | Path | Mapping[str, Any],
    *,
    device: str | Path | Device,
    largest: int = 1 << 16,
    on_progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> tuple[list[Analysis], int | None]:
    """Floors at batches 1, 2, 4, ... until the weights' products are all bound by compute: the ridge.

    Returns
    -------
    (list of Analysis, int or None)
        The sweep, and the smallest batch (found by bisection) at which no product of weights is bound by
        memory; None where `largest` is reached first.
    """
    found: list[Analysis] = []
    batch, ridge = 1, None
    steps = int(math.log2(largest)) + 1
    while batch <= largest:
        found.append(analyze(model, device=device, batch=batch, **options))
        if on_progress is not None:
            on_progress(len(found), steps)
        if not _starved(found[-1]):
            ridge = _bisected(model, device, options, batch)
            break
        batch *= 2
    return found, ridge


def _starved(analysis: Analysis) -> bool:
    return any(o.bound == "memory" for o in analysis.operators if o.operator.kind == "matmul")


def _bisected(model: Any, device: Any, options: Mapping[str, Any], batch: int) -> int:
    low, high = batch // 2, batch
    while high - low > 1:
        middle = (low + high) // 2
        starved = _starved(analyze(model, device=device, batch=middle, **options))
        low, high = (middle, high) if starved else (low, middle)
    return high
