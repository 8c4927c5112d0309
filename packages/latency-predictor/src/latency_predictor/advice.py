"""The batch that serves most tokens a second within a limit on the decode step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latency_predictor.prediction import Prediction, predict
from mfi_command import BadInput
from roofline import Device


@dataclass(frozen=True)
class Advice:
    """The best batch, or None where even batch 1 is over the limit; `curve` has every batch tried, in order.

    `memory_limited` says that the curve ends at the device's memory and not at the largest batch asked for.
    """

    best: Prediction | None
    curve: tuple[Prediction, ...]
    max_decode_s: float
    memory_limited: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "feasible": self.best is not None,
            "batch": None if self.best is None else self.best.batch,
            "tokens_per_s": None if self.best is None else self.best.tokens_per_s,
            "decode_step_s": None if self.best is None else self.best.decode_step_s,
            "memory_limited": self.memory_limited,
            "curve": [
                {
                    "batch": point.batch,
                    "decode_step_s": point.decode_step_s,
                    "prefill_s": point.prefill_s,
                    "tokens_per_s": point.tokens_per_s,
                }
                for point in self.curve
            ],
        }


def advise(
    model: str | Path | Mapping[str, Any],
    *,
    device: str | Path | Device,
    max_decode_s: float,
    prompt: int = 512,
    output: int = 128,
    largest: int = 256,
    cautious: bool = False,
    **options: Any,
) -> Advice:
    """Try every batch from 1 to `largest` and take the one with most tokens a second within the limit.

    Parameters
    ----------
    model, device, prompt, output, options
        As for `predict`.
    max_decode_s
        Limit on a mean decode step, seconds; with `cautious` the upper end of its interval has to keep it.
    largest
        Largest batch tried; the curve ends earlier where the device's memory does.

    Raises
    ------
    BadInput
        What `predict` refuses at batch 1, or a limit that is not a positive number.
    """
    if not 0 < max_decode_s < float("inf"):
        raise BadInput(f"max_decode_s is {max_decode_s}, expected a positive number of seconds")
    curve = [predict(model, device=device, batch=1, prompt=prompt, output=output, **options)]
    limited = False
    for batch in range(2, largest + 1):
        try:
            curve.append(predict(model, device=device, batch=batch, prompt=prompt, output=output, **options))
        except BadInput:  # batch 1 passed, so only the memory can refuse a larger one
            limited = True
            break
    within = [
        point for point in curve if (point.decode.high_s if cautious else point.decode_step_s) <= max_decode_s
    ]
    best = max(within, key=lambda point: point.tokens_per_s, default=None)
    return Advice(best, tuple(curve), max_decode_s, limited)
