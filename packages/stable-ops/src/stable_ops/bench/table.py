"""The tables that the command prints."""

from __future__ import annotations

from collections.abc import Sequence

from stable_ops.bench.cases import READ_ONLY
from stable_ops.bench.report import AccuracyRow, BenchReport, InvarianceRow, SpeedRow

Rows = list[list[object]]
# Ours first, then by how common they are.
_NUMPY = ("stable_ops/numpy", "scipy", "numpy")
ORDER = ("stable_ops", *_NUMPY, "stable_ops/torch", "torch", "torch.compile", "liger", "quack", "flashinfer")


def speed(report: BenchReport) -> tuple[list[str], Rows]:
    """One line a point: each library's share of copy, of reading where that is measured."""
    names = sorted({row.backend for row in report.rows}, key=ORDER.index)
    points: dict[tuple[str, tuple[int, int], str], dict[str, SpeedRow]] = {}
    for row in report.rows:
        points.setdefault((row.op, row.shape, row.dtype), {})[row.backend] = row
    lines: Rows = []
    for (op, shape, dtype), found in points.items():
        against = "read" if op in READ_ONLY and next(iter(found.values())).of_read else "copy"
        lines.append([op, f"{shape[0]} x {shape[1]}", dtype, against, *(_share(found.get(n)) for n in names)])
    return ["op", "shape", "dtype", "share of", *names], lines


def launches(report: BenchReport) -> tuple[list[str], Rows]:
    """Host microseconds of a call, a line an operator."""
    names = sorted({row.backend for row in report.launches}, key=ORDER.index)
    found = {(row.op, row.dtype, row.backend): row.host_us for row in report.launches}
    keys = dict.fromkeys((row.op, row.dtype) for row in report.launches)
    lines: Rows = [[*key, *(_rounded(found.get((*key, name)), 1) for name in names)] for key in keys]
    return ["op", "dtype", *names], lines


def accuracy(report: BenchReport) -> tuple[list[str], Rows]:
    """One line for an operator, a dtype and a library: the worst over kinds of input and lengths."""
    groups: dict[tuple[str, str, str], list[AccuracyRow]] = {}
    for row in report.accuracy:
        groups.setdefault((row.op, row.dtype, row.backend), []).append(row)
    lines: Rows = []
    for key, rows in groups.items():
        outputs, wrong = sum(row.outputs for row in rows), sum(row.misrounded for row in rows)
        bits = [row for row in report.invariance if (row.op, row.dtype, row.backend) == key]
        worst = max(row.max_ulp for row in rows)
        lines.append([*key, worst, f"{wrong / outputs:.3%} of {outputs}", invariant(bits)])
    return ["op", "dtype", "library", "max ulp", "misrounded", "bits independent of the batch"], lines


def invariant(rows: Sequence[InvarianceRow]) -> bool | None:
    """Whether no batch size changed a bit; None if it was not tried."""
    return not any(row.differing for row in rows) if rows else None


def _share(row: SpeedRow | None) -> float | None:
    if row is None:
        return None
    return _rounded(row.of_read if row.of_read is not None else row.of_copy, 3)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
