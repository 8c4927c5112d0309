"""How far each library's result on a CUDA device is from the truth, and whether it depends on the batch.

The truth is computed in float64 on the device (relative error about 1e-14), by formulas that do not cancel.
Near a tie that is not enough to say which neighbour is right: an output within 2^-30 ulp of a tie counts as
rounded rightly. A float32 layer_norm is measured, as by `stable_ops.testing.check`, in ulp of at least 1: an
element near the mean is a difference of larger numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from stable_ops.bench.cases import ELEMENTWISE, ROW_OPS
from stable_ops.bench.peers import Variant, absence, variant
from stable_ops.bench.report import AccuracyRow, BenchReport, InvarianceRow, TrialRow
from stable_ops.testing import check
from stable_ops.testing.oracles import ORACLES

KINDS: dict[str, Callable[[Any], Any]] = {
    "normal": lambda x: x,
    "scale 10": lambda x: 10 * x,
    "shifted": lambda x: 1000 + x,
}
DEVICE = "cuda"
# An output is near a tie if the truth is this close, in ulp, to the middle of two numbers.
NEAR = 2.0**-8
BATCHES = (1, 2, 3, 5, 8, 16, 17, 31, 32, 64, 100, 127, 128, 129, 255, 256, 257, 511, 512, 513, 1024, 2048)
# torch.compile makes a kernel for each of the first, and one for all after them.
COMPILED_BATCHES = (1, 2, 16, 100, 128, 257, 512, 2048)
LENGTHS = (4096, 131_072)
_SLACK = 2.0**-30
_FLOOR_ERROR = 2.0**-49
_MANTISSA = {"float32": (24, -126), "float16": (11, -14), "bfloat16": (8, -126)}

Call = Callable[..., Any]


def survey(
    report: BenchReport,
    ops: Sequence[str],
    dtypes: Sequence[str],
    backends: Sequence[str],
    *,
    elements: int = 2**22,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Fill the report with errors, invariance and trials of each kernel of each library."""
    todo = [(op, dtype, name) for op in ops if op in _TRUTHS for dtype in dtypes for name in backends]
    for i, (op, dtype, name) in enumerate(todo, start=1):
        for length in LENGTHS if op in ROW_OPS else LENGTHS[:1]:
            try:
                _judge(report, op, dtype, name, length, elements)
            except Exception as error:  # whatever a library raises is a reason not to show it
                report.absent.append(absence(error, op, length, dtype, name))
        if on_progress is not None:
            on_progress(i, len(todo))


def _judge(report: BenchReport, op: str, dtype: str, name: str, length: int, elements: int) -> None:
    built = variant(name, op, dtype)
    compiled = name == "torch.compile"
    if compiled and length != LENGTHS[0]:
        return  # each length is compiled anew
    # A logsumexp gives one number a row.
    count = elements if op != "logsumexp" else max(elements, 16 * elements)
    report.accuracy += accuracy(built, op, dtype, length=length, elements=count)
    batches = COMPILED_BATCHES if compiled else [n for n in BATCHES if n * length <= 2**25]
    whole = variant(name, op, dtype, dynamic=None)
    report.invariance.append(invariance(whole, op, dtype, length=length, batches=batches))
    if length == LENGTHS[0] and not compiled:
        report.trials.append(_trial(built, op, dtype))


def _trial(built: Variant, op: str, dtype: str) -> TrialRow:
    def call(*tensors: Any) -> Any:
        return built.call(*built.adapt(*(x.to(DEVICE) for x in tensors)))

    found = check(call, against=op, dtypes=[dtype], max_ulp=1.0, library="torch")
    sorts = [failure.sort for failure in found.failures]
    counts = {sort: sorts.count(sort) for sort in sorted(set(sorts))}
    return TrialRow(op, dtype, built.backend, len(sorts), counts, found.max_ulp, found.batch_invariant)


def truth(op: str, *operands: Any) -> Any:
    """The unrounded result in float64."""
    return _TRUTHS[op](*(x.double() for x in operands))


def accuracy(
    built: Variant, op: str, dtype: str, *, length: int, elements: int = 2**22, seed: int = 0
) -> Iterator[AccuracyRow]:
    """The errors on rows of each class of inputs, `elements` numbers in all."""
    for kind, operands in _inputs(op, dtype, length, elements, seed):
        y = built.call(*built.adapt(*operands))
        exact = truth(op, *operands)
        floor = ORACLES[op].floor if dtype == "float32" else 0.0
        ulp, wrong, near = errors(y, exact, dtype, floor=floor)
        yield AccuracyRow(
            op=op,
            dtype=dtype,
            backend=built.backend,
            kind=kind,
            length=length,
            max_ulp=float(ulp.max()),
            misrounded=int(wrong.sum()),
            outputs=y.numel(),
            near_ties=int(near.sum()),
            near_ties_misrounded=int((wrong & near).sum()),
        )


def invariance(
    built: Variant, op: str, dtype: str, *, length: int, batches: Sequence[int] = BATCHES, seed: int = 1
) -> InvarianceRow:
    """Bits of the first rows of the largest batch in every smaller one."""
    draw = _drawer(dtype, seed)
    whole = operands_of(op, draw, max(batches), length)
    y = _bits(built, whole)
    differing, count = [], 0
    for batch in batches:
        part = _bits(built, [x[:batch].clone() if x.ndim == 2 else x for x in whole])
        unequal = int((part != y[:batch]).sum())
        count += unequal
        if unequal:
            differing.append(batch)
    return InvarianceRow(op, dtype, built.backend, length, tuple(batches), tuple(differing), count)


def errors(y: Any, exact: Any, dtype: str, *, floor: float = 0.0) -> tuple[Any, Any, Any]:
    """Errors of y in ulp of the float64 truth, which are misrounded, and which truths lie near a tie.

    With a floor the ulp is at least that of the floor, and the truth itself is off by 2^-49 of it.
    """
    digits, lowest = _MANTISSA[dtype]
    limit = torch.finfo(getattr(torch, dtype)).max
    got = y.double()
    magnitude = exact.abs()
    exponent = torch.where(magnitude > 0, torch.frexp(magnitude).exponent.long() - 1, lowest)
    unit = _power_of_two(exponent.clamp(min=lowest) - (digits - 1))
    coarse = unit.clamp(min=floor * 2.0 ** (1 - digits))
    beyond = magnitude >= limit * (1 + 2.0 ** -(digits + 1) / (1 - 2.0**-digits))
    rounded_infinity = torch.where(beyond, torch.copysign(torch.full_like(exact, torch.inf), exact), exact)
    same = (got == rounded_infinity) | (got.isnan() & exact.isnan())
    comparable = got.isfinite() & exact.isfinite() & ~beyond
    distance = (got - exact).abs()
    wrong = torch.where(comparable, distance > (0.5 + _SLACK) * unit + floor * _FLOOR_ERROR, ~same)
    near = comparable & (((magnitude / unit).frac() - 0.5).abs() < NEAR)
    return torch.where(comparable, distance / coarse, torch.where(same, 0.0, torch.inf)), wrong, near


def _power_of_two(exponent: Any) -> Any:
    return ((exponent + 1023) << 52).view(torch.float64)


def _bits(built: Variant, operands: Sequence[Any]) -> Any:
    y = built.call(*built.adapt(*operands))
    return y.view(torch.int32 if y.element_size() == 4 else torch.int16).clone()


def operands_of(op: str, draw: Call, rows: int, length: int, kind: str = "normal") -> tuple[Any, ...]:
    """Random operands of an operator; `draw(shape, change)` gives a tensor."""
    change = KINDS[kind]
    x = draw((rows, length), change)
    if op == "layer_norm":
        return x, draw((length,), lambda w: 1 + w / 2), draw((length,), lambda b: b / 2)
    if op == "rms_norm":
        return x, draw((length,), lambda w: 1 + w / 2)
    return (x, draw((rows, length), KINDS["normal"])) if op == "swiglu" else (x,)


def _inputs(
    op: str, dtype: str, length: int, elements: int, seed: int
) -> Iterator[tuple[str, tuple[Any, ...]]]:
    draw = _drawer(dtype, seed)
    for kind in KINDS:
        if kind != "shifted" or op not in ELEMENTWISE:
            yield kind, operands_of(op, draw, max(1, elements // length), length, kind)
    if op in ("gelu", "silu") and dtype != "float32":
        every = torch.arange(2**16, dtype=torch.int32, device=DEVICE).to(torch.int16)
        yield "every 16-bit number", (every.view(getattr(torch, dtype)).view(16, 4096),)


def _drawer(dtype: str, seed: int) -> Call:
    generator = torch.Generator(DEVICE).manual_seed(seed)

    def draw(shape: tuple[int, ...], change: Call) -> Any:
        return change(torch.randn(shape, generator=generator, device=DEVICE)).to(getattr(torch, dtype))

    return draw


def _softmax(x: Any) -> Any:
    weights = (x - x.amax(-1, keepdim=True)).exp()
    return weights / weights.sum(-1, keepdim=True)


def _logarithm(x: Any) -> tuple[Any, Any]:
    """The maximum, and log1p of the sum of the other weights."""
    top, place = x.max(-1, keepdim=True)
    others = (x - top).exp().scatter(-1, place, 0.0)
    return top, others.sum(-1, keepdim=True).log1p()


def _log_softmax(x: Any) -> Any:
    top, logarithm = _logarithm(x)
    return (x - top) - logarithm


def _logsumexp(x: Any) -> Any:
    top, logarithm = _logarithm(x)
    return (top + logarithm).squeeze(-1)


def _layer_norm(x: Any, weight: Any, bias: Any) -> Any:
    centred = x - x.mean(-1, keepdim=True)
    centred = centred - centred.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight + bias


def _rms_norm(x: Any, weight: Any) -> Any:
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight


def _gelu(x: Any) -> Any:
    y = x * 0.5 * torch.special.erfc(-x * 0.5**0.5)
    return torch.where(x == -torch.inf, 0.0, y)


def _silu(x: Any) -> Any:
    return torch.where(x == -torch.inf, 0.0, x / (1 + (-x).exp()))


_TRUTHS: dict[str, Call] = {
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "logsumexp": _logsumexp,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "gelu": _gelu,
    "silu": _silu,
    "swiglu": lambda gate, up: _silu(gate) * up,
}
