"""Model, device and stack put together: seconds of passes, with their parts and their interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latency_predictor.device_fit import DeviceFit, completed, hardware_of, merged, shipped
from latency_predictor.pass_time import Sizes, Timed, timed_operators
from latency_predictor.stacks import Stack, table
from latency_predictor.work import ModelWork
from mfi_command import BadInput
from roofline import Device

Floats = NDArray[np.float64]
# Parts that are the same chip under another name or with other memory; the ratio to the peaks carries over.
SAME_CHIP = {"A100-80GB": "A100-SXM4-80GB", "A100-SXM4-40GB": "A100-SXM4-80GB"}
_NOTED = 0.05  # share of a pass in operators beyond the measurements that is worth a note


@dataclass(frozen=True)
class Chosen:
    """The coefficients used for a device, whether they were fitted on it, and a sentence on where they are
    from.
    """

    fit: DeviceFit
    known: bool
    provenance: str


@lru_cache(maxsize=64)
def chosen_for(name: str) -> Chosen:
    """Coefficients for a device: its own where it was measured, else the mean of the measured devices."""
    fits = shipped()
    own = SAME_CHIP.get(name, name)
    others = [fit for device, fit in fits.items() if device != own]
    if own in fits:
        return Chosen(completed(fits[own], others), True, f"fitted on measured kernels of {own}")
    return Chosen(
        merged(list(fits.values()), name),
        False,
        f"{name} was not measured: mean of {', '.join(fits)}, scaled by its data sheet",
    )


@dataclass(frozen=True)
class Engine:
    """Everything decided but the sizes.

    Attributes
    ----------
    interval
        By phase: low_log and high_log of log(measured / predicted).
    notes
        What stands in for what was not measured.
    """

    work: ModelWork
    device: Device
    stack: Stack
    chosen: Chosen
    interval: Mapping[str, Mapping[str, float]]
    notes: tuple[str, ...] = ()

    def operators(self, at: Sizes, phase: str) -> list[Timed]:
        """The operators of a pass, without what the stack adds."""
        return timed_operators(
            self.work,
            at,
            rules=self.stack.rules,
            fit=self.chosen.fit,
            on=hardware_of(self.device, self.work.dtype),
            phase=phase,
        )

    def seconds(self, operators: list[Timed], phase: str) -> Floats:
        """Seconds of the pass."""
        return self.stack.pass_s(operators, phase=phase)

    def ends(self, operators: list[Timed], seconds: Floats, phase: str) -> tuple[Floats, Floats]:
        """The interval, wider by how far beyond measurements the time is spent."""
        wider = 1 + beyond(operators)
        of = self.interval[phase]
        return seconds * np.exp(of["low_log"] * wider), seconds * np.exp(of["high_log"] * wider)


def beyond(operators: list[Timed]) -> Floats:
    """Mean distance beyond the measurements, over the time."""
    total = sum((one.seconds for one in operators), np.zeros_like(operators[0].seconds))
    far = sum((one.seconds * one.beyond for one in operators), np.zeros_like(total))
    return np.asarray(far / total)


def extrapolated(operators: list[Timed]) -> str:
    """A sentence on the operators beyond the measurements, empty where they take little of the time."""
    total = sum(float(one.seconds.sum()) for one in operators)
    far = [one.name for one in operators if float((one.seconds * (one.beyond > 0)).sum()) > _NOTED * total]
    if not far:
        return ""
    return f"extrapolated, outside of what was measured: {', '.join(far)}; the interval is wider for it"


def interval_of(stack: str, phase: str, *, known: bool) -> dict[str, float]:
    """Ends of log(measured / predicted) on models left out; on a device that was not measured, with the error
    of its kernels added in quadrature.
    """
    intervals = table()["interval"]
    own = intervals["stack"].get(stack, intervals["stack"]["vllm"])[phase]
    if known:
        return {"low_log": own["low_log"], "high_log": own["high_log"]}
    device = intervals["unseen"]["device"][phase]
    return {
        "low_log": -math.hypot(own["low_log"], device["low_log"]),
        "high_log": math.hypot(own["high_log"], device["high_log"]),
    }


def check_memory(engine: Engine, batch: int, positions: int) -> int:
    """Bytes of weights and cache on each device; `BadInput` if they do not fit."""
    needed = int(engine.work.memory_bytes(np.array([float(batch)]), np.array([float(positions)]))[0])
    has = engine.device.memory_bytes
    if has is not None and needed > has:
        raise BadInput(
            f"batch {batch} needs {needed / 1e9:.4g} GB for weights and cache,"
            f" {engine.device.name} has {has / 1e9:.4g} GB; take a smaller batch or dtype, or more devices"
        )
    return needed


def notes_of(engine: Engine) -> list[str]:
    """What to know about the coefficients."""
    found = list(engine.notes)
    if not engine.chosen.known:
        found.append(f"{engine.chosen.provenance}; the interval is that of devices left out of the fit")
    work: Any = engine.work
    if work.dtype not in ("bf16", "fp16") and work.dtype not in engine.chosen.fit.gemms:
        found.append(f"{work.dtype}: efficiencies of 16-bit products stand in, none were measured")
    return found
