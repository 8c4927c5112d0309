"""Times on a CPU: numpy and torch forms beside scipy.special, torch, and what one writes by hand.

As on a GPU every kernel of a point runs once a round, in an order that shifts, beside a copy, and inputs
rotate over three sets; a set of the default size is beyond the caches of most processors.
"""

from __future__ import annotations

import platform
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import stable_ops
from mfi_command import BadInput, require
from stable_ops.bench.cases import READ_ONLY, Point
from stable_ops.bench.peers import Absent, Call, Variant, absence, torch_functions
from stable_ops.bench.report import AccuracyRow, BenchReport, SpeedRow
from stable_ops.blocks import cores
from stable_ops.testing.oracles import ORACLES, truth
from stable_ops.testing.ulp import error_ulp, misrounded

SETS = 3
# Enough rows to see an error that happens once in a million outputs, few enough for longdouble.
_JUDGED = 2**18

BACKENDS = ("stable_ops/numpy", "scipy", "numpy", "stable_ops/torch", "torch")


def measure(
    points: Sequence[Point],
    backends: Sequence[str] = BACKENDS,
    *,
    calls: int = 11,
    on_progress: Callable[[int, int], None] | None = None,
) -> BenchReport:
    """Time each kernel on each point, and judge its results against longer arithmetic.

    Raises
    ------
    BadInput
        A point in bfloat16, which numpy does not have.
    """
    report = BenchReport(_device(), _versions(backends), calls, threads=_threads(backends))
    for i, point in enumerate(points, start=1):
        _measure_point(report, point, backends, calls)
        if on_progress is not None:
            on_progress(i, len(points))
    return report


def variant(backend: str, op: str) -> Variant:
    """The kernel of a library, for numpy arrays.

    Raises
    ------
    Absent
        The library has no such operator.
    """
    if backend.startswith("stable_ops"):
        call: Call | None = getattr(stable_ops, op)
    elif backend == "torch":
        call = torch_functions()[op]
    else:
        call = {"numpy": _by_hand, "scipy": _scipy}[backend]().get(op)
    if call is None:
        raise Absent("has no such operator")
    return Variant(backend, call, _tensors if backend.endswith("torch") else lambda *arrays: arrays)


def _measure_point(report: BenchReport, point: Point, backends: Sequence[str], calls: int) -> None:
    variants = []
    sets = [_operands(point, seed) for seed in range(SETS)]
    for backend in backends:
        try:
            built = variant(backend, point.op)
            built.call(*built.adapt(*(x[:1] if x.ndim == 2 else x for x in sets[0])))
        except Exception as error:  # whatever a library raises is a reason not to show it
            report.absent.append(absence(error, point.op, point.length, point.dtype, backend))
        else:
            variants.append(built)
    target = np.empty_like(sets[0][0])
    copy = Variant("copy", lambda x, *_: np.copyto(target, x))
    entries = [(built, [built.adapt(*operands) for operands in sets]) for built in (copy, *variants)]
    medians = _in_turn(entries, calls)
    copied = 2 * target.nbytes / medians["copy"]
    report.copy_gb_per_s[f"{point.op} {point.rows}x{point.length} {point.dtype}"] = copied / 1e9
    outputs = point.rows if point.op in READ_ONLY else point.rows * point.length
    moved = sum(x.nbytes for x in sets[0]) + outputs * target.itemsize
    for built in variants:
        rate = moved / medians[built.backend]
        row = SpeedRow(
            op=point.op,
            shape=point.shape,
            dtype=point.dtype,
            backend=built.backend,
            median_s=medians[built.backend],
            gb_per_s=rate / 1e9,
            of_copy=rate / copied,
            extra_bytes=_extra_bytes(built, sets[0]),
        )
        report.rows.append(row)
        report.accuracy += _judge(built, point)


def _in_turn(entries: Sequence[tuple[Variant, list[tuple[Any, ...]]]], calls: int) -> dict[str, float]:
    for entry, sets in entries:
        entry.call(*sets[0])
    times: dict[str, list[float]] = {entry.backend: [] for entry, _ in entries}
    for i in range(calls):
        shift = i % len(entries)
        for entry, sets in (*entries[shift:], *entries[:shift]):
            operands = sets[i % len(sets)]
            began = time.perf_counter()
            entry.call(*operands)
            times[entry.backend].append(time.perf_counter() - began)
    return {name: statistics.median(measured) for name, measured in times.items()}


def _extra_bytes(built: Variant, operands: tuple[Any, ...]) -> int | None:
    if built.backend.endswith("torch"):
        return None  # its allocator does not report to tracemalloc
    tracemalloc.start()
    y = built.call(*operands)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return max(0, peak - int(np.asarray(y).nbytes))


def _judge(built: Variant, point: Point) -> Iterator[AccuracyRow]:
    # A logsumexp gives one number a row.
    rows = max(1, (8 if point.op == "logsumexp" else 1) * _JUDGED // point.length)
    for kind, scale in (("normal", 1.0), ("scale 10", 10.0)):
        operands = _operands(Point(point.op, rows, point.length, point.dtype), 7, scale)
        y = np.asarray(built.call(*built.adapt(*operands)))
        exact = truth(point.op, *operands)
        units = error_ulp(y, exact, floor=ORACLES[point.op].floor)
        yield AccuracyRow(
            op=point.op,
            dtype=point.dtype,
            backend=built.backend,
            kind=kind,
            length=point.length,
            max_ulp=float(units.max()),
            misrounded=int(misrounded(y, exact).sum()),
            outputs=int(y.size),
            near_ties=0,
            near_ties_misrounded=0,
        )


def _operands(point: Point, seed: int, scale: float = 1.0) -> tuple[Any, ...]:
    if point.dtype == "bfloat16":
        raise BadInput("numpy has no bfloat16: measure float32 or float16 on a CPU")
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> Any:
        return rng.standard_normal(shape, dtype=np.float32).astype(point.dtype)

    x = draw(*point.shape) * np.dtype(point.dtype).type(scale)
    vectors = {"layer_norm": 2, "rms_norm": 1}.get(point.op, 0)
    more = (draw(*point.shape),) if point.op == "swiglu" else ()
    return (x, *more, *(draw(point.length) for _ in range(vectors)))


def _tensors(*arrays: Any) -> tuple[Any, ...]:
    torch = require("torch", extra="torch", distribution="mfi-stable-ops")
    return tuple(torch.from_numpy(np.ascontiguousarray(x)) for x in arrays)


def _by_hand() -> dict[str, Call]:
    def softmax(x: Any) -> Any:
        weights = np.exp(x - x.max(-1, keepdims=True))
        return weights / weights.sum(-1, keepdims=True)

    def logsumexp(x: Any) -> Any:
        top = x.max(-1, keepdims=True)
        return (top + np.log(np.exp(x - top).sum(-1, keepdims=True)))[..., 0]

    def layer_norm(x: Any, weight: Any, bias: Any) -> Any:
        scale = np.sqrt(x.var(-1, keepdims=True) + x.dtype.type(1e-5))
        return (x - x.mean(-1, keepdims=True)) / scale * weight + bias

    def rms_norm(x: Any, weight: Any) -> Any:
        return x / np.sqrt(np.square(x).mean(-1, keepdims=True) + x.dtype.type(1e-6)) * weight

    def log_softmax(x: Any) -> Any:
        return x - logsumexp(x)[..., None]

    def silu(x: Any) -> Any:
        return x / (1 + np.exp(-x))

    def swiglu(gate: Any, up: Any) -> Any:
        return silu(gate) * up

    functions = (softmax, log_softmax, logsumexp, layer_norm, rms_norm, silu, swiglu)
    return {function.__name__: function for function in functions}


def _scipy() -> dict[str, Call]:
    from scipy import special

    return {
        "softmax": lambda x: special.softmax(x, axis=-1),
        "log_softmax": lambda x: special.log_softmax(x, axis=-1),
        "logsumexp": lambda x: special.logsumexp(x, axis=-1),
        "gelu": lambda x: x * special.ndtr(x),
        "silu": lambda x: x * special.expit(x),
        "swiglu": lambda gate, up: gate * special.expit(gate) * up,
    }


def _device() -> str:
    """The processor's name."""
    table = Path("/proc/cpuinfo")
    lines = table.read_text(encoding="utf-8").splitlines() if table.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _threads(backends: Sequence[str]) -> int:
    """Of torch, and of our numpy forms; SciPy and numpy use one."""
    if not any(name.endswith("torch") for name in backends):
        return cores()
    return int(require("torch", extra="torch", distribution="mfi-stable-ops").get_num_threads())


def _versions(backends: Sequence[str]) -> dict[str, str]:
    names = ["numpy", "scipy"] + (["torch"] if any(name.endswith("torch") for name in backends) else [])
    return {name: version(name) for name in names}
