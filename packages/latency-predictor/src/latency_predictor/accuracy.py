"""How far predictions are off on what their fit never saw, from files of `collect`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latency_predictor.device_fit import DeviceFit, completed, hardware_of, shipped
from latency_predictor.fitting.host import disturbed
from latency_predictor.fitting.operators import fit_device, fit_gemm, gemm_seconds
from latency_predictor.fitting.samples import collected
from latency_predictor.fitting.stack import (
    PassRow,
    busy,
    family,
    fit_stack,
    issued_s,
    on_one_host,
    pass_rows,
    predicted,
    taken,
)
from latency_predictor.fitting.sustained import sustained_share
from latency_predictor.stacks import Stack, find_stack
from roofline import Device, analyze

Floats = NDArray[np.float64]
_FOLDS = 5


@dataclass(frozen=True)
class Judged:
    """Passes with their measured and predicted seconds; `disturbed`: measured beside a slower host."""

    rows: tuple[PassRow, ...]
    measured: Floats
    predicted: Floats
    disturbed: NDArray[np.bool_] | None = None

    @property
    def errors(self) -> Floats:
        """Absolute, relative to the measured."""
        return np.abs(self.predicted / self.measured - 1)

    @property
    def r2(self) -> float:
        """1 - residual over total sum of squares, seconds."""
        residual = float(np.sum((self.measured - self.predicted) ** 2))
        return 1 - residual / float(np.sum((self.measured - self.measured.mean()) ** 2))

    def where(self, chosen: Callable[[PassRow], bool]) -> Judged:
        """Some of the rows."""
        return self._taken(np.array([chosen(row) for row in self.rows], dtype=bool))

    @property
    def quiet(self) -> Judged:
        """The rows whose host was as fast as it usually is."""
        return self if self.disturbed is None else self._taken(~self.disturbed)

    def _taken(self, mask: NDArray[np.bool_]) -> Judged:
        kept = tuple(row for row, keep in zip(self.rows, mask, strict=True) if keep)
        some = None if self.disturbed is None else self.disturbed[mask]
        return Judged(kept, self.measured[mask], self.predicted[mask], some)


def own_operators(content: Mapping[str, Any], device: Device) -> DeviceFit:
    """The operators of a device from its own rows, the rest from the other devices that ship."""
    made = fit_device(device.name, collected(content), lambda dtype: hardware_of(device, dtype))
    made = replace(made, sustained=sustained_share(content))
    return completed(made, [fit for name, fit in shipped().items() if name != device.name])


def unseen_models(
    content: Mapping[str, Any],
    stack: str,
    *,
    device: Device,
    fit: DeviceFit,
    group: Callable[[PassRow], str] | None = None,
    one_host: bool = False,
) -> Judged:
    """Every pass, by a stack fitted on the other families of models only (or on the other groups).

    The operators in `fit` were measured as products, attention and vectors of many sizes; no pass of any
    model is in them. Where a host issues the kernels, passes beside a slower one are judged, not fitted on:
    for the speed of the host that was noted beside each, or with `one_host` for that of the fit.
    """
    rows = pass_rows(content, stack)
    start = bare(stack)
    work = busy(rows, start, fit, device)
    names = np.array([(group or (lambda row: family(row.model)))(row) for row in rows])
    slow = disturbed(rows, work) if start.issue_call_s > 0 else np.zeros(len(rows), dtype=bool)
    found = np.empty(len(rows))
    for name in set(names):
        made = fit_stack(taken(work, (names != name) & ~slow), start, "others")
        out = taken(work, names == name)
        found[names == name] = predicted(on_one_host(out) if one_host else out, made)
    return Judged(tuple(rows), work.measured, found, slow)


def by_split(
    content: Mapping[str, Any],
    stack: str,
    *,
    device: Device,
    fit: DeviceFit,
    seen: Callable[[PassRow], bool],
    judged: Callable[[PassRow], bool],
) -> Judged:
    """The passes of `judged`, by a stack fitted on those of `seen`."""
    rows = pass_rows(content, stack)
    start = bare(stack)
    work = busy(rows, start, fit, device)
    learn, judge = (np.array([rule(row) for row in rows], dtype=bool) for rule in (seen, judged))
    made = fit_stack(taken(work, learn), start, "seen")
    kept = tuple(row for row, keep in zip(rows, judge, strict=True) if keep)
    return Judged(kept, work.measured[judge], predicted(taken(work, judge), made))


def with_stack(rows: Sequence[PassRow], stack: Stack, *, device: Device, fit: DeviceFit) -> Judged:
    """Passes by a stack as it is."""
    work = busy(rows, stack, fit, device)
    slow = disturbed(rows, work) if stack.issue_call_s > 0 else None
    return Judged(tuple(rows), work.measured, predicted(work, stack), slow)


def device_bound(
    rows: Sequence[PassRow], stack: Stack, *, device: Device, fit: DeviceFit
) -> NDArray[np.bool_]:
    """Whether the device takes longer than the host needs to issue its kernels, by prediction."""
    work = busy(rows, stack, fit, device)
    scale = np.where(work.phase == "prefill", stack.scale["prefill"], stack.scale["decode"])
    return np.asarray(work.seconds * scale > issued_s(work, stack))


def bare(stack: str) -> Stack:
    """A stack with its kernels and nothing fitted."""
    return replace(find_stack(stack), scale={"prefill": 1.0, "decode": 1.0}, step_s=0.0)


def unseen_shapes(content: Mapping[str, Any], device: Device) -> Floats:
    """Errors of products at weight shapes (n, k) that the fit did not see, in five parts."""
    found = []
    for dtype, rows in collected(content).gemms.items():
        on = hardware_of(device, dtype)
        _, site = np.unique(np.stack((rows.n, rows.k)), axis=1, return_inverse=True)
        for part in range(_FOLDS):
            held = site.ravel() % _FOLDS == part
            made, residual = fit_gemm(rows.take(~held), on)
            judged = rows.take(held)
            found.append(np.abs(gemm_seconds(judged, made, residual, on) / judged.seconds - 1))
    return np.concatenate(found)


def ideal_roofline(
    rows: Sequence[PassRow], device: Device, *, compute: float = 1.0, memory: float = 1.0
) -> Judged:
    """What a roofline alone says: the sum of max(FLOP / peak, bytes / bandwidth), each peak times a constant.

    With both at 1 this is what LLM-Viewer and GenZ compute at their default efficiencies.
    """
    seconds = []
    for row in rows:
        counted = analyze(
            row.model,
            device=device,
            batch=row.batch,
            sequence=row.positions,
            phase=row.phase,
            dtype=row.dtype,
        )
        seconds.append(
            sum(
                max(
                    placed.operator.flop / (placed.peak_flop_per_s * compute),
                    placed.operator.bytes / (device.bandwidth_bytes_per_s * memory),
                )
                for placed in counted.operators
            )
        )
    return Judged(tuple(rows), np.array([row.seconds for row in rows]), np.array(seconds))


@dataclass(frozen=True)
class Regret:
    """An advised batch against the best of all that were measured, tokens a second under one limit."""

    model: str
    max_decode_s: float
    advised: int
    best: int
    advised_tokens_per_s: float
    best_tokens_per_s: float

    @property
    def share(self) -> float:
        """Throughput of the advice over that of the best; 0 where the advice breaks the limit by over 5 %."""
        return self.advised_tokens_per_s / self.best_tokens_per_s


_SLACK = 1.05


def batch_regrets(
    content: Mapping[str, Any], *, device: Device, fit: DeviceFit, limits: int = 8
) -> list[Regret]:
    """Advice for each model whose batches were swept, at limits spread over its decode steps.

    The stack is fitted on the other families. Throughput of a batch is batch / step, measured; an advice
    whose
    measured step breaks the limit by more than 5 % counts nothing.
    """
    rows = [row for row in pass_rows(content, "cuda-graph") if row.phase == "decode"]
    swept = {row.model for row in rows if sum(one.model == row.model for one in rows) > 2 * limits}
    found = []
    for model in sorted(swept):
        mine = {
            row.batch: row for row in rows if row.model == model and row.positions == _common(rows, model)
        }
        judged = by_split(
            content,
            "cuda-graph",
            device=device,
            fit=fit,
            seen=_outside(family(model)),
            judged=_among(mine),
        )
        steps = {
            row.batch: (m, p)
            for row, m, p in zip(judged.rows, judged.measured, judged.predicted, strict=True)
        }
        shortest, longest = (edge(m for m, _ in steps.values()) for edge in (min, max))
        for limit in np.geomspace(1.05 * shortest, longest, limits):
            allowed = {batch: batch / m for batch, (m, _) in steps.items() if m <= limit}
            advised = max(
                (b for b, (_, p) in steps.items() if p <= limit), key=lambda b: b / steps[b][1], default=0
            )
            rate = advised / steps[advised][0] if advised and steps[advised][0] <= _SLACK * limit else 0.0
            best = max(allowed, key=allowed.__getitem__)
            found.append(Regret(model, float(limit), advised, best, rate, allowed[best]))
    return found


def _outside(name: str) -> Callable[[PassRow], bool]:
    return lambda row: family(row.model) != name


def _among(mine: Mapping[int, PassRow]) -> Callable[[PassRow], bool]:
    return lambda row: mine.get(row.batch) == row


def _common(rows: Sequence[PassRow], model: str) -> int:
    lengths = [row.positions for row in rows if row.model == model]
    return max(set(lengths), key=lengths.count)
