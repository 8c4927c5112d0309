"""A stack's scalars from whole passes, models of whole families left out to see how far it is off."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from latency_predictor.device_fit import DeviceFit, hardware_of
from latency_predictor.pass_time import sizes, timed_operators
from latency_predictor.stacks import PHASES, Stack
from latency_predictor.timing import smooth_max
from latency_predictor.work import ModelWork, model_work
from roofline import Device, model_shape, read_config

Floats = NDArray[np.float64]
_SPREAD = 0.1
_BEST = 0.1  # share of the rows beside an undisturbed host; the very least may be an error of its clock
# Of log(scale), about the sum of the kernels: where the host decides most rows, few say what the device
# takes.
_PRIOR = 0.15
# What the host takes at first. One number an operator, not one for a layer as well: families of one kind have
# layers of the same operators, and do not tell the two apart for another kind.
_ISSUE = {"issue_call_s": 1e-5, "issue_step_s": 1e-3}
# Close relatives share a layer: nothing of one may be in a fit that is judged on another.
_RELATIVES = {"mistral": "llama", "qwen2": "qwen", "qwen3": "qwen", "gemma2": "gemma"}


@dataclass(frozen=True)
class PassRow:
    """A measured pass: `positions` that attention covers, its own included; seconds. `host_s`: what the host
    took beside it to issue a fixed number of operators (0: not noted).
    """

    model: str
    phase: str
    batch: int
    positions: int
    dtype: str
    seconds: float
    host_s: float = 0.0


@dataclass(frozen=True)
class Busy:
    """What the kernels of passes take, how many operators the host dispatches for them, and how fast it was
    (`PassRow.host_s`); arrays over rows.
    """

    phase: NDArray[np.str_]
    seconds: Floats
    calls: Floats
    measured: Floats
    host_s: Floats


def family(model: str) -> str:
    """The family of a model, relatives together."""
    kind = model_shape(read_config(model)).model_type
    return _RELATIVES.get(kind, kind)


def pass_rows(content: Mapping[str, Any], stack: str) -> list[PassRow]:
    """The passes under `stack` in a file of `collect` (or of rows with model, batch, prompt, phase)."""
    found = []
    for row in content["rows"]:
        if row.get("kind", "pass") == "pass" and row.get("stack") == stack:
            after = row["phase"] == "decode"
            positions = row["positions"] if "positions" in row else row["prompt"] + after
            dtype = str(row.get("dtype", content.get("dtype", "bf16")))
            found.append(
                PassRow(
                    row["model"], row["phase"], row["batch"], positions, dtype, row["latency_s"],
                    row.get("issue_s", row.get("host_s", 0.0)),
                )
            )  # fmt: skip
    return found


def busy(rows: Sequence[PassRow], stack: Stack, fit: DeviceFit, device: Device) -> Busy:
    """Kernels of every row by the formulas, model by model."""
    seconds, calls = (np.zeros(len(rows)) for _ in range(2))
    groups: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        groups[row.model, row.dtype, row.phase].append(number)
    works: dict[tuple[str, str], ModelWork] = {}
    for (model, dtype, phase), numbers in groups.items():
        work = works.setdefault((model, dtype), model_work(model, dtype=dtype, fused=stack.fused))
        keys = np.array([rows[number].positions for number in numbers])
        at = sizes([rows[n].batch for n in numbers], keys if phase == "prefill" else 1, keys)
        on = hardware_of(device, dtype)
        found = timed_operators(work, at, rules=stack.rules, fit=fit, on=on, phase=phase)
        seconds[numbers] = sum(one.seconds for one in found)
        calls[numbers] = sum(one.calls for one in found)
    return Busy(
        phase=np.array([row.phase for row in rows]),
        seconds=seconds,
        calls=calls,
        measured=np.array([row.seconds for row in rows]),
        host_s=np.array([row.host_s for row in rows]),
    )


def predicted(work: Busy, stack: Stack) -> Floats:
    """Seconds of every row under `stack`, on the host that it was measured beside where that was noted."""
    scale = np.where(work.phase == "prefill", stack.scale["prefill"], stack.scale["decode"])
    return np.asarray(smooth_max(work.seconds * scale, issued_s(work, stack), 8.0) + stack.step_s)


def issued_s(work: Busy, stack: Stack) -> Floats:
    """Seconds that the host takes to issue every row: the stack's, times how much slower its probe ran."""
    issue = work.calls * stack.issue_call_s + stack.issue_step_s
    known = (work.host_s > 0) & (stack.host_s > 0)
    return np.asarray(issue * np.where(known, work.host_s, 1.0) / np.where(known, stack.host_s, 1.0))


def on_one_host(work: Busy) -> Busy:
    """The same rows as if nothing had been noted of the host."""
    return replace(work, host_s=np.zeros_like(work.host_s))


def fit_stack(work: Busy, start: Stack, source: str) -> Stack:
    """Scale by phase, and either seconds a step or, where `start` has a host that issues, what it takes: on
    the host as it was when nothing else slowed it down, where its speed was noted.
    """
    start = replace(start, host_s=_undisturbed(work.host_s))
    hosted = start.issue_call_s > 0
    issue = list(_ISSUE) if hosted else []
    here = [phase for phase in PHASES if (work.phase == phase).any()]

    def made(theta: Sequence[float]) -> Stack:
        scale = dict(start.scale) | {p: math.exp(v) for p, v in zip(here, theta, strict=False)}
        if not hosted:
            return replace(start, scale=scale, step_s=math.exp(theta[-1]) * 1e-6, source=source)
        host = {name: _ISSUE[name] * math.exp(v) for name, v in zip(issue, theta[len(here) :], strict=True)}
        return replace(start, scale=scale, source=source, **host)  # type: ignore[arg-type]

    def errors(theta: Floats) -> Floats:
        found = np.log(predicted(work, made(list(theta))) / work.measured)
        prior = _SPREAD * theta[: len(here)] / _PRIOR
        # The split of the host's time between operator and pass is weakly decided: hold it together.
        return np.concatenate((found, prior, 0.02 * theta[len(here) :]))

    first = [0.0] * len(here) + ([0.0] * len(issue) if hosted else [math.log(5.0)])
    best = least_squares(errors, first, loss="soft_l1", f_scale=_SPREAD, bounds=(-6, 6))
    return made(list(best.x))


def _undisturbed(host_s: Floats) -> float:
    """The probe at its best tenth; 0 where it was not noted with every row."""
    return float(np.quantile(host_s, _BEST)) if len(host_s) and (host_s > 0).all() else 0.0


def held_out(
    rows: Sequence[PassRow], work: Busy, start: Stack, group: Callable[[PassRow], str]
) -> dict[str, dict[str, list[float]]]:
    """log(measured / predicted) of every row by phase and model, the model's group left out of the fit."""
    names, models = (np.array([of(row) for row in rows]) for of in (group, lambda row: row.model))
    found: dict[str, dict[str, list[float]]] = {phase: defaultdict(list) for phase in PHASES}
    for name in sorted(set(names)):
        kept, out = taken(work, names != name), taken(work, names == name)
        logs = np.log(out.measured / predicted(out, fit_stack(kept, start, "held out")))
        for phase, model, value in zip(out.phase, models[names == name], logs, strict=True):
            found[str(phase)][str(model)].append(float(value))
    return found


def taken(work: Busy, chosen: Any) -> Busy:
    """The rows of a mask."""
    return Busy(*(getattr(work, name)[chosen] for name in work.__dataclass_fields__))
