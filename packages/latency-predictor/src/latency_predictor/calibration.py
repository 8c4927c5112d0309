"""The user's own stack: one scalar, moved from what ships by a few of their rows."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from latency_predictor.engine import chosen_for
from latency_predictor.fitting.stack import PassRow, busy, predicted
from latency_predictor.lint import Linted, lint
from latency_predictor.stacks import Stack, find_stack, posterior
from mfi_command import BadInput, atomic_file
from roofline import Device
from roofline import device as find_device

NOISE = 0.1  # of log(time) of one row about its stack's scalar: what a held-out model is off by, at 90 %


@dataclass(frozen=True)
class Calibration:
    """A stack with the user's scalar.

    Attributes
    ----------
    stack
        To give to `predict`.
    factor, factor_low, factor_high
        Time over that of the stack it began from, and its 90 % interval.
    rows
        How many it was taken from.
    linted
        What was dropped of them.
    """

    stack: Stack
    factor: float
    factor_low: float
    factor_high: float
    rows: int
    linted: Linted

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "stack": {"name": self.stack.name, **self.stack.to_dict()},
            "factor": self.factor,
            "factor_low": self.factor_low,
            "factor_high": self.factor_high,
            "rows": self.rows,
            "dropped": [{"row": one.row, "reason": one.reason} for one in self.linted.dropped],
            "noise": self.linted.noise,
        }


def calibrate(
    rows: Sequence[Mapping[str, Any]],
    *,
    device: str | Path | Device,
    stack: str | Stack,
    name: str = "",
) -> Calibration:
    """Move a stack's scalar by a few measured passes.

    Parameters
    ----------
    rows
        From `importing.read_measurements`: model, phase, batch, positions, latency_s, and dtype.
    device
        Where they were measured.
    stack
        The stack that comes nearest: its kernels stay, its scalar moves.
    name
        Of the calibrated stack; `stack` with "-own" by default.

    Returns
    -------
    Calibration

    Raises
    ------
    BadInput
        No rows, or none left after the lint.

    Notes
    -----
    The posterior of log(scalar) under a normal prior of the width `Stack.spread`, so that one row moves it
    most of the way and eight all of it. A row that no pass can have is dropped first, and said.
    """
    hardware, start = find_device(device), find_stack(stack)
    linted = lint(rows, hardware)
    if not linted.rows:
        why = linted.dropped[0].reason if linted.dropped else "there were none"
        raise BadInput(f"no row is left to calibrate on: {why}")
    passes = [
        PassRow(
            str(row["model"]), row["phase"], row["batch"], row["positions"], row.get("dtype", "bf16"),
            float(row["latency_s"]),
        )
        for row in linted.rows
    ]  # fmt: skip
    work = busy(passes, start, chosen_for(hardware.name).fit, hardware)
    logs = np.log(work.measured / predicted(work, start))
    noise = max(NOISE, linted.noise or 0.0)
    mean, deviation = posterior([float(v) for v in logs], spread=start.spread, noise=noise)
    made = start.scaled(
        math.exp(mean), f"{start.name} with a scalar of {math.exp(mean):.3f} from {len(passes)} rows of yours"
    )

    return Calibration(
        stack=replace(made, name=name or f"{start.name}-own"),
        factor=math.exp(mean),
        factor_low=math.exp(mean - 1.645 * deviation),
        factor_high=math.exp(mean + 1.645 * deviation),
        rows=len(passes),
        linted=linted,
    )


def write_calibration(path: str | Path, made: Calibration, *, device: str | Path | Device) -> None:
    """Write the file that `predict(fit=...)` reads: the device as it ships, and the calibrated stack."""

    from latency_predictor.device_fit import DeviceFit

    hardware = find_device(device)
    empty = DeviceFit(hardware.name, {}, {}, {}, {})
    values = {key: value for key, value in asdict(hardware).items() if key not in ("sources", "unverified")}
    content = {
        **empty.to_dict(),
        "hardware": values,
        "stacks": {made.stack.name: made.stack.to_dict()},
        "intervals": {},
    }
    with atomic_file(path) as beside:
        beside.write_text(json.dumps(content) + "\n", encoding="utf-8")
