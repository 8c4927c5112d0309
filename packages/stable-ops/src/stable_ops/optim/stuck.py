"""Which weights of a narrow format an update cannot move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mfi_command import BadInput
from stable_ops.arrays import Float64, unwrap
from stable_ops.fp.formats import Format, get_format
from stable_ops.fp.rounding import Rounder, ulp
from stable_ops.optim.parameters import require_range

# From narrow to wide by the distance of their numbers, then by range.
_CANDIDATES = ("fp8_e5m2", "fp8_e4m3fn", "bf16", "fp16", "fp32", "fp64")
Tensors = Mapping[str, Any] | Sequence[Any]


@dataclass(frozen=True)
class StuckTensor:
    """One tensor of a stagnation report.

    Attributes
    ----------
    name : str
        Its key, or its position.
    size, stuck : int
        Weights with an update that is not zero, and those of them that stay where they are.
    half_ulps : float
        Median size of the updates in halves of the distance to the next number: below 1 a weight is stuck.
    """

    name: str
    size: int
    stuck: int
    half_ulps: float


@dataclass(frozen=True)
class Stagnation:
    """What one step does to weights that are stored in a format.

    Attributes
    ----------
    format : str
    lr : float
    size, stuck : int
        Weights with an update that is not zero, and those that it does not move.
    share : float
        stuck / size, 0 for no weights.
    lr_needed : float
        The smallest learning rate, for the same gradients, that leaves at most `allowed` of the weights
        stuck; infinite if updates underflow whatever it is.
    format_needed : str or None
        Of fp8_e5m2, fp8_e4m3fn, bf16, fp16, fp32, fp64 the first in which at most `allowed` of the weights
        are stuck at this learning rate and none overflows; None if there is none.
    allowed : float
    tensors : tuple of StuckTensor
        In the order given.
    """

    format: str
    lr: float
    size: int
    stuck: int
    share: float
    lr_needed: float
    format_needed: str | None
    allowed: float
    tensors: tuple[StuckTensor, ...]

    def to_dict(self) -> dict[str, Any]:
        """The fields, as `stable-ops stagnation --json` prints them."""
        return {**asdict(self), "tensors": [asdict(t) for t in self.tensors]}


def stagnation(
    weights: Tensors,
    gradients: Tensors | None = None,
    *,
    lr: float,
    format: str | Format = "bf16",
    allowed: float = 0.01,
) -> Stagnation:
    """Which weights :math:`w \\leftarrow RN(w - \\eta g)` leaves where they are, and what would move them.

    Parameters
    ----------
    weights : mapping or sequence of numpy arrays or torch tensors
    gradients : the same keys (or length) and shapes, optional
        What the learning rate multiplies: gradients for SGD, :math:`\\hat m / (\\sqrt{\\hat v} + \\epsilon)`
        for Adam. Without, steps of one learning rate for every weight, as Adam's first are.
    lr : float
    format : str or Format
        What the weights are stored in. The update itself is taken as exact.
    allowed : float
        The share of stuck weights to accept, in [0, 1).

    Returns
    -------
    Stagnation

    Notes
    -----
    A weight is stuck where :math:`|\\eta g|` is below half of the distance to the next number in
    its direction (half an ulp, a quarter toward zero from a power of two), or at it with w even. With weights
    of size 1 and a relative update of 1e-3 that is most of them in bf16 (half an ulp: 2^-9 to 2^-8). Moments
    and master weights in float32, or stochastic rounding (`round_to(..., rounding="stochastic")`), whose mean
    is the exact update, are the ways out beside those reported. Gradients of zero do not count. Cost O(n)
    times the formats tried. Source: Gupta et al., Deep learning with limited numerical precision (2015),
    section 3; Zamirai et al., Revisiting BFloat16 training (2020).

    Raises
    ------
    BadInput
        Keys, lengths or shapes that differ, NaN or infinite entries, a learning rate that is not positive.

    Examples
    --------
    >>> report = stagnation([[1.0, 1.0, 0.01]], [[1.0, 8.0, 1.0]], lr=1e-3)
    >>> report.stuck, report.lr_needed, report.format_needed
    (1, 0.001953125, 'fp16')
    """
    require_range("lr", lr, np.nextafter(0, 1))
    require_range("allowed", allowed, 0.0, 1.0)
    target = get_format(format)
    pairs = _read(weights, gradients)
    rows = [_judge(name, w, g, lr, target) for name, w, g in pairs]
    size, stuck = sum(r.size for r in rows), sum(r.stuck for r in rows)
    needed = np.sort(np.concatenate([_needed(w, g, target) for _, w, g in pairs] or [np.zeros(0)]))
    return Stagnation(
        format=target.name,
        lr=lr,
        size=size,
        stuck=stuck,
        share=stuck / size if size else 0.0,
        # All but the allowed part of the weights move at this rate or at the next number above it.
        lr_needed=float(needed[size - int(allowed * size) - 1]) if size else 0.0,
        format_needed=next((f for f in _CANDIDATES if _moves(pairs, lr, get_format(f), allowed)), None),
        allowed=allowed,
        tensors=tuple(rows),
    )


def _read(weights: Tensors, gradients: Tensors | None) -> list[tuple[str, Float64, Float64]]:
    named = _named(weights)
    steps = {name: np.ones(1) for name in named} if gradients is None else _named(gradients)
    if set(named) != set(steps):
        raise BadInput(f"weights are {_list(named)}, gradients {_list(steps)}: give the same")
    pairs = []
    for name, value in named.items():
        w = unwrap(value, f"weights {name}").values.astype(np.float64)
        g = unwrap(steps[name], f"gradients {name}").values.astype(np.float64)
        if gradients is None:
            g = np.ones_like(w)
        if w.shape != g.shape:
            raise BadInput(f"weights {name} have shape {w.shape}, gradients {g.shape}: give the same")
        if not (np.isfinite(w).all() and np.isfinite(g).all()):
            raise BadInput(f"{name} holds NaN or infinite entries: find out where they were made first")
        pairs.append((name, w.reshape(-1), g.reshape(-1)))
    return pairs


def _named(tensors: Tensors) -> dict[str, Any]:
    if isinstance(tensors, Mapping):
        return {str(name): tensors[name] for name in tensors}
    return {str(i): value for i, value in enumerate(tensors)}


def _list(named: Mapping[str, Any]) -> str:
    names = list(named)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _judge(name: str, w: Float64, g: Float64, lr: float, target: Format) -> StuckTensor:
    used = g != 0
    stored, step = Rounder(target).array(w[used]), lr * g[used]
    stuck = _stuck(stored, step, target)
    gaps = _gap(stored, step, target)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.abs(step) / (gaps / 2)
    return StuckTensor(
        name, stored.size, int(stuck.sum()), float(np.median(relative)) if stored.size else 0.0
    )


def _stuck(stored: Float64, step: Float64, target: Format) -> Any:
    return Rounder(target).add_arrays(stored, -step) == stored


def _gap(stored: Float64, step: Float64, target: Format) -> Float64:
    """Distance from stored numbers to the next one in the direction of -step."""
    magnitude = np.abs(stored)
    power = (np.frexp(magnitude)[0] == 0.5) & (magnitude > target.min_normal)
    inward = np.sign(stored) == np.sign(step)
    gaps: Float64 = np.asarray(ulp(stored, target)) * np.where(power & inward, 0.5, 1.0)
    return gaps


def _needed(w: Float64, g: Float64, target: Format) -> Float64:
    """The learning rate above which each weight moves."""
    used = g != 0
    stored = Rounder(target).array(w[used])
    with np.errstate(over="ignore"):
        needed: Float64 = _gap(stored, g[used], target) / 2 / np.abs(g[used])
    return np.where(np.isnan(needed), np.inf, needed)


def _moves(pairs: list[tuple[str, Float64, Float64]], lr: float, target: Format, allowed: float) -> bool:
    rows = [_judge(*pair, lr, target) for pair in pairs]
    fits = all(np.isfinite(Rounder(target).array(w)).all() for _, w, _ in pairs)
    return fits and sum(r.stuck for r in rows) <= allowed * sum(r.size for r in rows)
