"""What goes into an operation, and what rounding it does to the result."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from stable_ops.audit import judge
from stable_ops.audit.judge import Loss
from stable_ops.audit.sample import MASK, Sampler
from stable_ops.fp.formats import Format

_ROWS = {
    "native_layer_norm": "layer_norm",
    "_softmax": "softmax",
    "_log_softmax": "log_softmax",
    "var": "var",
    "std": "std",
    "var_mean": "var",
    "sum": "sum",
    "mean": "mean",
    "linalg_vector_norm": "vector_norm",
}


@dataclass(frozen=True)
class Operands:
    """Sampled operands: a pair `(n,)` that is added, one argument `(n,)`, or rows `(m, n)`.

    `absorbs` is whether the smaller of a pair is a whole tensor whose loss counts.
    """

    op: str
    pair: tuple[torch.Tensor, torch.Tensor] | None = None
    absorbs: tuple[bool, bool] = (False, False)
    argument: torch.Tensor | None = None
    rows: torch.Tensor | None = None


def operands_of(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], sampler: Sampler) -> Operands:
    """Sample what an operation of that name is about to read."""
    plain = name if name.startswith("_") else name.rstrip("_")
    if plain in ("add", "sub", "rsub"):
        return _sum(plain, args, kwargs, sampler)
    first = args[0] if args and isinstance(args[0], torch.Tensor) else None
    if first is None or first.dtype != torch.float32 or not first.numel():
        return Operands(_ROWS.get(plain, plain))
    if plain == "log":
        return Operands(plain, argument=sampler.take(first))
    if plain in _ROWS:
        rows = sampler.rows(first, _dims(plain, first, args, kwargs))
        if "softmax" in plain:
            rows = rows.masked_fill(rows <= -MASK, -math.inf)
            used = rows.amax(dim=-1).isfinite()  # a row that is all masked has no result
        else:
            used = rows.isfinite().all(dim=-1)
        return Operands(_ROWS[plain], rows=rows[used])
    return Operands(plain)


def _sum(plain: str, args: tuple[Any, ...], kwargs: dict[str, Any], sampler: Sampler) -> Operands:
    shape = torch.broadcast_shapes(*(a.shape for a in args[:2] if isinstance(a, torch.Tensor)))  # type: ignore[no-untyped-call]
    sides, whole = [], []
    for a in args[:2]:
        tensor = a if isinstance(a, torch.Tensor) else torch.tensor(float(a))
        sides.append(sampler.take(tensor, shape).float())
        # A constant, a bias or a mean that vanishes beside its partner is no harm.
        whole.append(isinstance(a, torch.Tensor) and tensor.shape == shape)
    alpha = float(kwargs.get("alpha", args[2] if len(args) > 2 else 1))
    a, b = sides
    pair = (a, alpha * b) if plain == "add" else (a, -alpha * b) if plain == "sub" else (-alpha * a, b)
    return Operands(plain.removeprefix("r"), pair=pair, absorbs=(whole[0], whole[1]))


def _dims(plain: str, x: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[int]:
    if plain == "native_layer_norm":
        return list(range(-len(args[1]), 0))
    given = kwargs.get("dim", args[2] if plain == "linalg_vector_norm" and len(args) > 2 else None)
    if given is None and plain != "linalg_vector_norm" and len(args) > 1:
        given = args[1]
    if isinstance(given, int) and not isinstance(given, bool):
        return [given]
    return list(given) if isinstance(given, (list, tuple)) and given else list(range(x.ndim))


def row_losses(operands: Operands, format: Format, *, same_accumulator: bool) -> list[Loss | None]:
    """What the format does to the operation when its operands are stored in it."""
    if operands.pair is not None:
        return _pair_losses(operands, format)
    if operands.argument is not None:
        x = operands.argument
        return [judge.cancellation(x.log(), judge.rounded(x, format).log(), format)]
    rows = operands.rows
    if rows is None or not rows.numel():
        return []
    stored = judge.rounded(rows.float(), format).double()
    if bool((rows.isfinite() & ~stored.isfinite()).any()):
        return []  # an input that overflows is reported where it is made
    found: list[Loss | None] = []
    function = _REFERENCES.get(operands.op)
    if function is not None:
        found.append(judge.row_cancellation(function(rows), function(stored), format))
    if same_accumulator and operands.op in _TERMS and rows.shape[-1] > 2:
        found += judge.accumulation(_TERMS[operands.op](rows), format)
    return found


def _pair_losses(operands: Operands, format: Format) -> list[Loss | None]:
    assert operands.pair is not None
    a, b = operands.pair
    found: list[Loss | None] = []
    if operands.absorbs[1]:
        found.append(judge.absorption(a, b, format))
    if operands.absorbs[0] and not any(found):
        found.append(judge.absorption(b, a, format))
    exact = a.double() + b.double()
    computed = judge.rounded(a, format).double() + judge.rounded(b, format).double()
    found.append(judge.cancellation(exact, computed, format))
    return found


def _layer_norm(rows: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.layer_norm(rows, rows.shape[-1:])


def _column(function: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda rows: function(rows).reshape(-1, 1)


_REFERENCES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "layer_norm": _layer_norm,
    "softmax": lambda rows: rows.softmax(dim=-1),
    "var": _column(lambda rows: rows.var(dim=-1)),
    "std": _column(lambda rows: rows.std(dim=-1)),
    "sum": _column(lambda rows: rows.sum(dim=-1)),
    "mean": _column(lambda rows: rows.mean(dim=-1)),
}
_TERMS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "layer_norm": lambda rows: (rows - rows.mean(dim=-1, keepdim=True)) ** 2,
    "var": lambda rows: (rows - rows.mean(dim=-1, keepdim=True)) ** 2,
    "std": lambda rows: (rows - rows.mean(dim=-1, keepdim=True)) ** 2,
    "rms_norm": lambda rows: rows**2,
    "vector_norm": lambda rows: rows**2,
    "softmax": lambda rows: (rows - rows.amax(dim=-1, keepdim=True)).exp(),
    "sum": lambda rows: rows,
    "mean": lambda rows: rows,
}
