"""What goes into an operation, and what rounding it does to the result."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from stable_ops.audit import judge
from stable_ops.audit.judge import Loss
from stable_ops.audit.sample import MASK, Array, Sampler
from stable_ops.audit.screen import Screen
from stable_ops.fp.formats import Format

_ROWS = {
    "native_layer_norm": "layer_norm",
    "native_batch_norm": "batch_norm",
    "native_group_norm": "group_norm",
    "_softmax": "softmax",
    "_log_softmax": "log_softmax",
    "var": "var",
    "std": "std",
    "var_mean": "var",
    "sum": "sum",
    "mean": "mean",
    "linalg_vector_norm": "vector_norm",
}


@dataclass
class Operands:
    """Sampled operands: a pair `(n,)` that is added, one argument `(n,)`, or rows `(m, n)`.

    `absorbs` is whether the smaller of a pair is a whole tensor whose loss counts; the rest is what the
    formats share, once one has needed it: the result in float64, magnitudes of a pair, sensitivity of rows.
    """

    op: str
    pair: tuple[Array, Array] | None = None
    absorbs: tuple[bool, bool] = (False, False)
    argument: Array | None = None
    rows: Array | None = None
    exact: Array | None = None
    sizes: tuple[Array, Array] | None = None
    sensitivity: tuple[Array, Array] | None = None


def operands_of(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], sampler: Sampler) -> Operands:
    """Sample what an operation of that name is about to read."""
    plain = name if name.startswith("_") else name.rstrip("_")
    if plain.startswith("_scaled_dot_product"):  # one name for each processor
        return Operands("scaled_dot_product_attention")
    if plain in ("add", "sub", "rsub"):
        return _sum(plain, args, kwargs, sampler)
    first = args[0] if args and isinstance(args[0], torch.Tensor) else None
    if first is None or first.dtype != torch.float32 or not first.numel():
        return Operands(_ROWS.get(plain, plain))
    if plain == "log":
        return Operands(plain, argument=sampler.take(first))
    if plain in ("lerp", "addcmul", "addcdiv"):
        return _compound(plain, args, kwargs, sampler)
    if plain == "native_batch_norm" and not args[5] and args[3] is not None:
        return _centred(first, args[3], sampler)
    if plain in _ROWS:
        grouped = first.reshape(args[3] * args[6], -1) if plain == "native_group_norm" else first
        rows = sampler.rows(grouped, _dims(plain, grouped, args, kwargs))
        if "softmax" in plain:
            rows[rows <= -MASK] = -math.inf
            used = np.isfinite(rows.max(axis=-1, initial=-math.inf))  # a row that is all masked has no result
        else:
            used = np.isfinite(rows).all(axis=-1)
        return Operands(_ROWS[plain], rows=rows if used.all() else rows[used])
    return Operands(plain)


def _sum(plain: str, args: tuple[Any, ...], kwargs: dict[str, Any], sampler: Sampler) -> Operands:
    if _alike(args) and not kwargs and len(args) == 2:
        a, b = sampler.take(args[0]), sampler.take(args[1])
        pair = (a, b) if plain == "add" else (a, -b) if plain == "sub" else (-a, b)
        return Operands(plain.removeprefix("r"), pair=pair, absorbs=(True, True))
    # torch.broadcast_shapes takes longer than the addition of a small tensor.
    shape = np.broadcast_shapes(*(tuple(a.shape) for a in args[:2] if isinstance(a, torch.Tensor)))
    sides: list[Array] = []
    for a in args[:2]:
        constant = not isinstance(a, torch.Tensor)
        sides.append(np.full(1, a, dtype=np.float32) if constant else sampler.take(a, shape))
    # A constant, a bias or a mean that vanishes beside its partner is no harm.
    whole = [isinstance(a, torch.Tensor) and a.shape == shape for a in args[:2]]
    alpha = np.float32(kwargs.get("alpha", args[2] if len(args) > 2 else 1))
    a, b = np.broadcast_arrays(*sides)
    pair = (a, alpha * b) if plain == "add" else (a, -alpha * b) if plain == "sub" else (-alpha * a, b)
    return Operands(plain.removeprefix("r"), pair=pair, absorbs=(whole[0], whole[1]))


def _alike(args: tuple[Any, ...]) -> bool:
    a, b = args[:2]
    return isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) and a.shape == b.shape


def _compound(plain: str, args: tuple[Any, ...], kwargs: dict[str, Any], sampler: Sampler) -> Operands:
    """An addition whose second operand is made on the way: a + w (b - a), a + v b c, a + v b / c."""
    shape = np.broadcast_shapes(*(tuple(a.shape) for a in args[:3] if isinstance(a, torch.Tensor)))
    a, b, c = (
        sampler.take(x, shape) if isinstance(x, torch.Tensor) else np.full(1, x, dtype=np.float32)
        for x in args[:3]
    )
    value = np.float32(kwargs.get("value", args[3] if len(args) > 3 else 1))
    step = c * (b - a) if plain == "lerp" else value * (b * c if plain == "addcmul" else b / c)
    return Operands(plain, pair=(a, step.astype(np.float32)), absorbs=(False, args[0].shape == shape))


def _centred(x: torch.Tensor, mean: torch.Tensor, sampler: Sampler) -> Operands:
    """Batch norm with running statistics takes a constant off each channel."""
    means = mean.reshape(1, -1, *[1] * (x.ndim - 2))
    return Operands("batch_norm", pair=(sampler.take(x), -sampler.take(means, tuple(x.shape))))


def _dims(plain: str, x: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[int]:
    if plain == "native_layer_norm":
        return list(range(-len(args[1]), 0))
    if plain == "native_batch_norm":
        return [d for d in range(x.ndim) if d != 1]
    if plain == "native_group_norm":
        return [1]
    given = kwargs.get("dim", args[2] if plain == "linalg_vector_norm" and len(args) > 2 else None)
    if given is None and plain != "linalg_vector_norm" and len(args) > 1:
        given = args[1]
    if isinstance(given, int) and not isinstance(given, bool):
        return [given]
    return list(given) if isinstance(given, (list, tuple)) and given else list(range(x.ndim))


def inputs_overflow(operands: Operands, format: Format) -> bool:
    """Whether what was sampled of the operands does not fit the format."""
    for values in (*(operands.pair or ()), operands.argument, operands.rows):
        if values is not None and values.size:
            magnitudes = np.abs(values)
            if judge.overflows(float(magnitudes.max(where=magnitudes < MASK, initial=0.0)), format):
                return True
    return False


def may_lose(operands: Operands, screen: Screen, *, same_accumulator: bool) -> bool:
    """Whether `row_losses` could find anything in one of the formats of a screen; quick."""
    if operands.pair is not None:
        return screen.pair(*_sums(operands), operands.absorbs)
    return operands.argument is not None or (operands.rows is not None and operands.rows.size > 0)


def row_losses(operands: Operands, format: Format, *, same_accumulator: bool) -> list[Loss | None]:
    """What the format does to the operation when its operands are stored in it."""
    if operands.pair is not None:
        return _pair_losses(operands, format)
    if operands.argument is not None:
        x = operands.argument.astype(np.float64)
        return [judge.cancellation(np.log(x), np.log(judge.rounded(x, format).astype(np.float64)), format)]
    rows = operands.rows
    if rows is None or not rows.size:
        return []
    if not same_accumulator and operands.op in _SENSITIVITY:
        if operands.sensitivity is None:
            operands.sensitivity = _SENSITIVITY[operands.op](rows)
        half = 2.0 ** (-judge.precision(format) / 2)
        error = 4 * (
            format.eps / 2 * operands.sensitivity[0] + format.min_subnormal * operands.sensitivity[1]
        )
        if np.count_nonzero(error >= half) < judge.CANCELLED_SHARE * len(rows):
            return []
    rows = rows.astype(np.float64)
    stored = judge.rounded(rows, format).astype(np.float64)
    if bool((np.isfinite(rows) & ~np.isfinite(stored)).any()):
        return []  # an input that overflows is reported where it is made
    found: list[Loss | None] = []
    function = _REFERENCES.get(operands.op)
    if function is not None:
        if operands.exact is None:
            operands.exact = function(rows)
        found.append(judge.row_cancellation(operands.exact, function(stored), format))
    if same_accumulator and operands.op in _TERMS and rows.shape[-1] > 2:
        found += judge.accumulation(_TERMS[operands.op](rows), format)
    return found


def _pair_losses(operands: Operands, format: Format) -> list[Loss | None]:
    assert operands.pair is not None
    a, b = operands.pair
    exact, (large, small) = _sums(operands)
    absorbs = (
        operands.absorbs[0] and judge.may_absorb(small, large, format),
        operands.absorbs[1] and judge.may_absorb(large, small, format),
    )
    cancels = judge.may_cancel(exact, large + small, format)
    if not (cancels or any(absorbs)):
        return []
    low_a, low_b = judge.rounded(a, format), judge.rounded(b, format)
    found: list[Loss | None] = []
    if any(absorbs):
        total = judge.rounded(low_a + low_b, format)
        if absorbs[1]:
            found.append(judge.absorption(low_a, low_b, total, format))
        if absorbs[0] and not any(found):
            found.append(judge.absorption(low_b, low_a, total, format))
    if cancels:
        found.append(judge.cancellation(exact, low_a.astype(np.float64) + low_b, format))
    return found


def _sums(operands: Operands) -> tuple[Array, tuple[Array, Array]]:
    """The results of a pair in float64, and the magnitudes of both sides."""
    assert operands.pair is not None
    if operands.exact is None or operands.sizes is None:
        a, b = operands.pair
        operands.exact = a.astype(np.float64) + b
        operands.sizes = np.abs(a), np.abs(b)
    return operands.exact, operands.sizes


def _layer_norm(rows: Array) -> Array:
    centred = rows - rows.mean(axis=-1, keepdims=True)
    variance = np.einsum("ij,ij->i", centred, centred)[:, None] / rows.shape[-1]
    normalised: Array = centred / np.sqrt(variance + 1e-5)
    return normalised


def _softmax(rows: Array) -> Array:
    weights = np.exp(rows - rows.max(axis=-1, keepdims=True))
    probabilities: Array = weights / weights.sum(axis=-1, keepdims=True)
    return probabilities


def _log_softmax(rows: Array) -> Array:
    shifted = rows - rows.max(axis=-1, keepdims=True)
    # Masked values have no logarithm, and no part in the error of a row.
    result = np.where(
        np.isfinite(shifted), shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), 0.0
    )
    return np.asarray(result)


def _layer_norm_sensitivity(rows: Array) -> tuple[Array, Array]:
    """Bounds on the relative error of a row's result: per relative and per absolute error of the row."""
    size = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    spread = np.sqrt(rows.shape[-1] * rows.var(axis=-1, dtype=np.float64))
    return size / spread, math.sqrt(rows.shape[-1]) / spread


def _softmax_sensitivity(rows: Array) -> tuple[Array, Array]:
    largest = np.abs(rows).max(axis=-1, where=rows > -MASK, initial=0.0)
    return largest, np.ones(len(rows))


_SENSITIVITY: dict[str, Callable[[Array], tuple[Array, Array]]] = {
    "layer_norm": _layer_norm_sensitivity,
    "batch_norm": _layer_norm_sensitivity,
    "group_norm": _layer_norm_sensitivity,
    "softmax": _softmax_sensitivity,
}
_REFERENCES: dict[str, Callable[[Array], Array]] = {
    "layer_norm": _layer_norm,
    "batch_norm": _layer_norm,
    "group_norm": _layer_norm,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "var": lambda rows: rows.var(axis=-1, ddof=1, keepdims=True),
    "std": lambda rows: rows.std(axis=-1, ddof=1, keepdims=True),
    "sum": lambda rows: rows.sum(axis=-1, keepdims=True),
    "mean": lambda rows: rows.mean(axis=-1, keepdims=True),
}


def _squares(rows: Array) -> Array:
    squares: Array = (rows - rows.mean(axis=-1, keepdims=True)) ** 2
    return squares


_TERMS: dict[str, Callable[[Array], Array]] = {
    "layer_norm": _squares,
    "batch_norm": _squares,
    "group_norm": _squares,
    "var": _squares,
    "std": _squares,
    "rms_norm": lambda rows: rows**2,
    "vector_norm": lambda rows: rows**2,
    "softmax": lambda rows: np.exp(rows - rows.max(axis=-1, keepdims=True)),
    "sum": lambda rows: rows,
    "mean": lambda rows: rows,
}
