"""Times on a CUDA device: rotated buffers, a flushed L2, and all kernels of a point in turn.

A run has two parts. `prepare` compiles every kernel by calling it once; `measure` then times: in each round
every kernel of the point, and a copy, runs once between two CUDA events, in an order that shifts by one each
round. Before each call 512 MiB are written, so nothing of an earlier call is in L2; inputs rotate over three
or more sets. The median of the rounds counts.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from stable_ops.bench import read
from stable_ops.bench.accuracy import truth
from stable_ops.bench.cases import READ_ONLY, SAMPLING, Point
from stable_ops.bench.peers import Absent, Variant, absence, variant, versions
from stable_ops.bench.report import Absence, BenchReport, LaunchRow, SpeedRow, tier_of

DEVICE = "cuda"
SETS = 3
FLUSH_BYTES = 2**29
LONGEST_CALL_S = 0.25
TINY_ROWS = 4
TINY_LENGTH = 1024
_ROTATED_BYTES = 3 * 2**28

Operands = tuple[Any, ...]


@dataclass
class Prepared:
    """A point and the kernels that answered on it."""

    point: Point
    variants: list[Variant] = field(default_factory=list)
    absent: list[Absence] = field(default_factory=list)


class Pool:
    """Random tensors of one dtype, drawn once and viewed in the shape of each point."""

    def __init__(self, dtype: str, elements: int, sets: int = SETS) -> None:
        self._dtype = getattr(torch, dtype)
        self._elements = elements
        self._sets = sets
        self._generator = torch.Generator(DEVICE).manual_seed(0)
        self._drawn: dict[str, list[Any]] = {}

    def base(self, role: str = "x") -> list[Any]:
        """Flat tensors, one for each set."""
        if role not in self._drawn:
            self._drawn[role] = [self._draw(self._elements) for _ in range(self._sets)]
        return self._drawn[role]

    def sets(self, point: Point) -> list[Operands]:
        """The operands of a point, once for each set."""
        count = point.rows * point.length
        if point.op in SAMPLING:
            return self._logits(point)
        flat = [x[:count].view(point.shape) for x in self.base()]
        if point.op == "swiglu":
            return [(x, up[:count].view(point.shape)) for x, up in zip(flat, self.base("up"), strict=True)]
        vectors = {"layer_norm": 2, "rms_norm": 1}.get(point.op, 0)
        return [(x, *(self._draw(point.length) for _ in range(vectors))) for x in flat]

    def _logits(self, point: Point) -> list[Operands]:
        nbytes = point.rows * point.length * 4
        count = max(2, -(-_ROTATED_BYTES // nbytes)) if self._sets > 1 else 1
        return [(2 * self._draw(point.rows * point.length).view(point.shape),) for _ in range(count)]

    def _draw(self, count: int) -> Any:
        return torch.randn(count, generator=self._generator, dtype=self._dtype, device=DEVICE)


def prepare(
    points: Sequence[Point],
    backends: Sequence[str],
    *,
    elements: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Prepared]:
    """Build and call every kernel once on every point, so that what it compiles is compiled."""
    done = []
    pools: dict[str, Pool] = {}
    for i, point in enumerate(points, start=1):
        pool = pools.setdefault(point.dtype, Pool(point.dtype, elements, sets=1))
        prepared = Prepared(point)
        (operands,) = pool.sets(point)
        for backend in backends:
            try:
                built = variant(backend, point.op, point.dtype)
                _try(built, point, operands)
            except Exception as error:  # whatever a library raises is a reason not to show it
                prepared.absent.append(absence(error, point.op, point.length, point.dtype, backend))
            else:
                prepared.variants.append(built)
        done.append(prepared)
        if on_progress is not None:
            on_progress(i, len(points))
    pools.clear()
    _release()
    return done


def _try(built: Variant, point: Point, operands: Operands) -> None:
    """Call it twice, the first call compiles; refuse what answers wrongly or would hold up the others."""
    arguments = built.adapt(*operands)
    for attempt in (0, 1):
        # The next tensor of this size lies where this one lay: what a kernel does not write is NaN.
        torch.full(point.shape, torch.nan, dtype=operands[0].dtype, device=DEVICE)
        began = time.perf_counter()
        y = built.call(*arguments)
        torch.cuda.synchronize()
        seconds = time.perf_counter() - began
        # A launch that failed unnoticed is reported by the next one.
        torch.zeros(1, device=DEVICE)
        torch.cuda.synchronize()
        if attempt and seconds > LONGEST_CALL_S:
            raise Absent(f"not timed: a call took {seconds:.2g} s")
    if point.op not in SAMPLING and not _right(y, point.op, operands):
        raise ArithmeticError("wrong results")


def _right(y: Any, op: str, operands: Operands) -> bool:
    """Whether the first and last rows are within 2 % of their largest element: it ran, no more."""
    for rows in (slice(0, 4), slice(-4, None)):
        exact = truth(op, *(x[rows] if x.ndim == 2 else x for x in operands))
        if not bool(((y[rows].double() - exact).abs() <= 0.02 * exact.abs().max()).all()):
            return False
    return True


def measure(
    prepared: Sequence[Prepared],
    *,
    elements: int,
    calls: int = 51,
    on_row: Callable[[BenchReport], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> BenchReport:
    """Time what `prepare` built; `on_row` gets the report so far after each point."""
    report = BenchReport(torch.cuda.get_device_name(), versions(), calls)
    flush = torch.empty(FLUSH_BYTES // 4, dtype=torch.int32, device=DEVICE)
    done = 0
    for dtype in dict.fromkeys(one.point.dtype for one in prepared):
        _release()
        pool = Pool(dtype, elements)
        reading = _reading(pool.base(), flush)
        for one in (one for one in prepared if one.point.dtype == dtype):
            report.absent += one.absent
            _measure_point(report, one, pool, reading, flush, calls)
            done += 1
            if on_row is not None:
                on_row(report)
            if on_progress is not None:
                on_progress(done, len(prepared))
        del pool, reading
    return report


def launches(points: Sequence[Point], backends: Sequence[str], *, calls: int = 200) -> list[LaunchRow]:
    """Host microseconds of a call on 4 rows of 1,024 numbers, the median of `calls`."""
    rows = []
    for op, dtype in dict.fromkeys((point.op, point.dtype) for point in points):
        pool = Pool(dtype, TINY_ROWS * TINY_LENGTH, sets=1)
        (operands,) = pool.sets(Point(op, TINY_ROWS, TINY_LENGTH, dtype))
        for backend in backends:
            try:
                built = variant(backend, op, dtype)
                rows.append(LaunchRow(op, dtype, backend, _host_us(built, operands, calls)))
            except Exception:  # noqa: S112 - why it cannot run is told where its speed is
                continue
    return rows


def _host_us(built: Variant, operands: Operands, calls: int) -> float:
    arguments = built.adapt(*operands)
    for _ in range(5):
        built.call(*arguments)
    torch.cuda.synchronize()
    times = []
    for i in range(calls):
        began = time.perf_counter()
        built.call(*arguments)
        times.append(time.perf_counter() - began)
        if i % 16 == 15:  # the queue of launches never fills
            torch.cuda.synchronize()
    return 1e6 * statistics.median(times)


def _measure_point(
    report: BenchReport, one: Prepared, pool: Pool, reading: Variant, flush: Any, calls: int
) -> None:
    sets = pool.sets(one.point)
    source, words = pool.base(), [x.view(torch.int32) for x in pool.base()]
    target = torch.empty_like(source[0])
    entries: list[tuple[Variant, list[Operands]]] = [
        (Variant("copy", lambda x: target.copy_(x)), [(x,) for x in source]),
        *((v, [v.adapt(*operands) for operands in sets]) for v in one.variants),
    ]
    if one.point.op in READ_ONLY:
        entries.append((reading, [(x,) for x in words]))
    medians = _in_turn(entries, flush, calls)
    copied = 2 * source[0].nbytes / medians["copy"]
    report.copy_gb_per_s[_key(one.point)] = copied / 1e9
    read_rate = source[0].nbytes / medians["read"] if "read" in medians else None
    if read_rate is not None:
        report.read_gb_per_s[_key(one.point)] = read_rate / 1e9
    for built in one.variants:
        moved = _useful_bytes(one.point, sets[0])
        rate = moved / medians[built.backend]
        report.rows.append(
            SpeedRow(
                op=one.point.op,
                shape=one.point.shape,
                dtype=one.point.dtype,
                backend=built.backend,
                median_s=medians[built.backend],
                gb_per_s=rate / 1e9,
                of_copy=rate / copied,
                of_read=rate / read_rate if read_rate else None,
                tier=tier_of(built.backend, one.point),
            )
        )


def _key(point: Point) -> str:
    return f"{point.op} {point.rows}x{point.length} {point.dtype}"


def _useful_bytes(point: Point, operands: Operands) -> int:
    """By the operator's definition: what a library reads beyond it is its own loss."""
    outputs = point.rows if point.op in READ_ONLY else point.rows * point.length
    width = 8 if point.op in SAMPLING else operands[0].element_size()
    return int(sum(x.nbytes for x in operands)) + outputs * width


def _in_turn(entries: list[tuple[Variant, list[Operands]]], flush: Any, calls: int) -> dict[str, float]:
    for entry, sets in entries:
        entry.call(*sets[0])
        entry.call(*sets[-1])
    torch.cuda.synchronize()
    events: dict[str, list[tuple[Any, Any]]] = {entry.backend: [] for entry, _ in entries}
    for i in range(calls):
        shift = i % len(entries)
        for entry, sets in (*entries[shift:], *entries[:shift]):
            start, stop = _event(), _event()
            flush.zero_()
            start.record()
            entry.call(*sets[i % len(sets)])
            stop.record()
            events[entry.backend].append((start, stop))
    torch.cuda.synchronize()
    return {
        name: statistics.median(start.elapsed_time(stop) for start, stop in pairs) / 1e3
        for name, pairs in events.items()
    }


def _event() -> Any:
    event: Any = torch.cuda.Event
    return event(enable_timing=True)


def _reading(base: list[Any], flush: Any) -> Variant:
    """The fastest of a few ways to read."""
    words = [x.view(torch.int32) for x in base]
    ways = []
    for block, warps in read.BLOCKS:
        if words[0].numel() % block == 0:
            out = torch.empty(words[0].numel() // block, dtype=torch.int32, device=DEVICE)
            ways.append(Variant(f"{block} {warps}", _reader(out, block, warps)))
    ways.append(Variant("torch", lambda x: x.amax()))
    medians = _in_turn([(way, [(x,) for x in words]) for way in ways], flush, 11)
    best = min(ways, key=lambda way: medians[way.backend])
    return Variant("read", best.call)


def _reader(out: Any, block: int, warps: int) -> Callable[[Any], None]:
    return lambda words: read.read(words, out, block=block, warps=warps)


def _release() -> None:
    gc.collect()
    torch.cuda.empty_cache()
