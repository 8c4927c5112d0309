"""The batch that serves most tokens a second within limits on the decode step and the first token."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mfi_command import BadInput
from roofline import Device
from roofline.arguments import positive


@dataclass(frozen=True)
class Point:
    """One batch: seconds with their 90 % intervals, tokens a second, and the cost of a million of them (None
    without a price).
    """

    batch: int
    decode_step_s: float
    decode_low_s: float
    decode_high_s: float
    prefill_s: float
    prefill_high_s: float
    tokens_per_s: float
    memory_bytes: float
    cost_per_million_tokens: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Advice:
    """The best batch, or None where no batch is within the limits; `curve` has every batch tried, in order.

    `memory_limited` says that the curve ends at the device's memory and not at the largest batch asked for.
    """

    device: str
    stack: str
    best: Point | None
    curve: tuple[Point, ...]
    max_decode_s: float | None
    max_ttft_s: float | None
    memory_limited: bool
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        best = self.best
        return {
            "feasible": best is not None,
            "batch": None if best is None else best.batch,
            "tokens_per_s": None if best is None else best.tokens_per_s,
            "decode_step_s": None if best is None else best.decode_step_s,
            "prefill_s": None if best is None else best.prefill_s,
            "cost_per_million_tokens": None if best is None else best.cost_per_million_tokens,
            "memory_limited": self.memory_limited,
            "curve": [point.to_dict() for point in self.curve],
            "notes": list(self.notes),
        }


def advise(
    model: str | Path | Mapping[str, Any],
    *,
    device: str | Path | Device | None = None,
    max_decode_s: float | None = None,
    max_ttft_s: float | None = None,
    prompt: int = 512,
    output: int = 128,
    largest: int = 256,
    batches: Sequence[int] = (),
    cautious: bool = False,
    price_per_hour: float | None = None,
    **options: Any,
) -> Advice:
    """Try batches and take the one with most tokens a second within the limits.

    Parameters
    ----------
    model, device, prompt, output, options
        As for `predict`.
    max_decode_s, max_ttft_s
        Limits on a mean decode step and on the prefill of a batch, seconds; at least one. With `cautious` the
        upper ends of their intervals have to keep them.
    largest, batches
        Every batch up to `largest`, or those of `batches`; the curve ends where the device's memory does.
    price_per_hour
        Of one device, in any currency, for the cost of a million generated tokens.

    Raises
    ------
    BadInput
        What `predict` refuses at the smallest batch, a limit or price that is not a positive number, or no
        limit.
    """
    import numpy as np

    from latency_predictor.engine import check_memory, notes_of
    from latency_predictor.grid import grid_with
    from latency_predictor.prediction import engine_for

    limits = {"max_decode_s": max_decode_s, "max_ttft_s": max_ttft_s, "price_per_hour": price_per_hour}
    for name, value in limits.items():
        if value is not None and not 0 < value < math.inf:
            raise BadInput(f"{name} is {value}, expected a positive number")
    if max_decode_s is None and max_ttft_s is None:
        raise BadInput("no limit: give max_decode_s or max_ttft_s (--max-decode-ms, --max-ttft-ms)")
    wanted = sorted(set(batches)) or list(range(1, largest + 1))
    for name, size in (("batch", wanted[0]), ("prompt", prompt), ("output", output)):
        positive(name, size)
    engine = engine_for(model, device=device, **options)
    check_memory(engine, wanted[0], prompt + max(1, output - 1))
    sizes = np.array(wanted, dtype=float)
    grid = grid_with(engine, sizes, np.full_like(sizes, prompt), np.full_like(sizes, output))
    parts = engine.work.parts
    points = [
        Point(
            batch=batch,
            decode_step_s=float(grid.decode_step_s[i]),
            decode_low_s=float(grid.decode_step_low_s[i]),
            decode_high_s=float(grid.decode_step_high_s[i]),
            prefill_s=float(grid.prefill_s[i]),
            prefill_high_s=float(grid.prefill_high_s[i]),
            tokens_per_s=float(grid.tokens_per_s[i]),
            memory_bytes=float(grid.memory_bytes[i]),
            cost_per_million_tokens=None
            if price_per_hour is None
            else price_per_hour * parts / 3600 / float(grid.tokens_per_s[i]) * 1e6,
        )
        for i, batch in enumerate(wanted)
        if grid.fits[i]
    ]
    within = [point for point in points if _within(point, max_decode_s, max_ttft_s, cautious=cautious)]
    return Advice(
        device=engine.device.name,
        stack=engine.stack.name,
        best=max(within, key=lambda point: point.tokens_per_s, default=None),
        curve=tuple(points),
        max_decode_s=max_decode_s,
        max_ttft_s=max_ttft_s,
        memory_limited=len(points) < len(wanted),
        notes=(engine.chosen.provenance, *notes_of(engine)),
    )


def _within(point: Point, decode_s: float | None, ttft_s: float | None, *, cautious: bool) -> bool:
    step = point.decode_high_s if cautious else point.decode_step_s
    first = point.prefill_high_s if cautious else point.prefill_s
    return (decode_s is None or step <= decode_s) and (ttft_s is None or first <= ttft_s)
