"""The report of a scan: figure, front, one line for each layer; the front as CSV beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mfi_command import BadInput, atomic_file
from mfi_command.report import Report, Table
from svd_compress.evaluation import Rise
from svd_compress.figures import blank_figure, colours
from svd_compress.latency import LatencyRow
from svd_compress.matrices import Float64
from svd_compress.scanning import LayerLine, Point

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENDINGS = (".html", ".md", ".csv", ".json")
# What is far below the first value is rounding of the moments, and would only stretch the axis.
LOWEST = 1e-6


@dataclass(frozen=True)
class Scan:
    """All that the report shows.

    Attributes
    ----------
    points, front
        Plans that were measured, and those that no other beats.
    lines
        One for each layer, of the plan with share `recommended`.
    spectra
        Weighted singular values of each layer, relative to the first, with its break-even rank.
    latencies
        The table that speeds come from.
    tokens, device, layout
        What the latencies are of.
    recommended
        Share of the selected layers' parameters of the plan that `lines` is about.
    left_out
        Shares asked for that the allowed ranks do not reach.
    warnings
        About the source.
    """

    points: Sequence[Point]
    front: Sequence[Point]
    lines: Sequence[LayerLine]
    spectra: Mapping[str, tuple[Float64, int]]
    latencies: Sequence[LatencyRow]
    tokens: int
    device: str
    layout: str
    recommended: float
    left_out: Sequence[float]
    warnings: Sequence[str]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "points": [point.to_dict() for point in self.points],
            "pareto": [point.to_dict() for point in self.front],
            "layers": [line.to_dict() for line in self.lines],
            "latency": [row.to_dict() for row in self.latencies],
            "tokens": self.tokens,
            "device": self.device,
            "layout": self.layout,
            "recommended_keep": self.recommended,
            "left_out_keep": list(self.left_out),
            "warnings": list(self.warnings),
        }


FRONT_COLUMNS = (
    "kept",
    "model bytes",
    "layers' latency (ms)",
    "perplexity",
    "rise",
    "rise low",
    "rise high",
    "other domain",
    "other rise",
    "factored layers",
)


def front_rows(points: Sequence[Point]) -> list[list[object]]:
    """A row of plain numbers for each point."""
    return [
        [
            point.keep,
            point.model_bytes,
            None if point.latency_s is None else point.latency_s * 1e3,
            point.in_domain.after,
            point.in_domain.rise,
            point.in_domain.low,
            point.in_domain.high,
            None if point.other_domain is None else point.other_domain.after,
            None if point.other_domain is None else point.other_domain.rise,
            sum(rank is not None for rank in point.plan.ranks.values()),
        ]
        for point in points
    ]


def scan_report(scan: Scan) -> Report:
    """Tables, notes and the figure."""
    factored = [line for line in scan.lines if line.rank is not None]
    lines: list[list[object]] = [[line.break_even_rank, line.sentence()] for line in scan.lines]
    title = f"Layer by layer, keeping {scan.recommended:.0%} of the layers' parameters"
    tables = [
        Table("Pareto front: size, latency, perplexity", FRONT_COLUMNS, front_rows(scan.front)),
        Table(title, ["break-even rank", "what to do"], lines),
    ]
    if scan.latencies:
        tables.append(Table(f"Latency for {scan.tokens} tokens", *latency_table(scan.latencies)))
    notes = [
        f"{len(factored)} of {len(scan.lines)} layers are worth a low rank; the others are left dense.",
        f"{len(scan.points) - len(scan.front)} of {len(scan.points)} measured plans are beaten by "
        "another and not shown.",
    ]
    notes += [_beside(scan.points[-1].in_domain, scan.points[-1].other_domain, scan.points[-1].keep)]
    if scan.left_out:
        shares = ", ".join(f"{keep:g}" for keep in scan.left_out)
        notes.append(f"Out of reach of the allowed ranks and left out: keeping {shares}.")
    notes += [warning[0].upper() + warning[1:] + "." for warning in scan.warnings]
    return Report(fields=scan.to_dict(), tables=tables, notes=notes, draw=lambda: figure(scan))


def _beside(own: Rise, other: Rise | None, keep: float) -> str:
    there = "" if other is None else f"; on another domain {other.before:.2f} -> {other.after:.2f}"
    here = f"perplexity {own.before:.2f} -> {own.after:.2f} on text like the calibration"
    return f"Keeping {keep:.0%}: {here}{there}."


def latency_table(rows: Sequence[LatencyRow]) -> tuple[list[str], list[list[object]]]:
    """Columns and rows of a latency table."""
    columns = [
        "shape",
        "rank",
        "form",
        "tokens",
        "kernel",
        "dense (us)",
        "factored (us)",
        "speed-up",
        "low",
        "high",
        "bound",
        "verdict",
    ]
    return columns, [
        [
            "x".join(map(str, row.shape)),
            row.rank,
            row.layout,
            row.tokens,
            row.kernel,
            row.dense_s * 1e6,
            row.factored_s * 1e6,
            row.speed_up.median,
            row.speed_up.low,
            row.speed_up.high,
            row.bound,
            row.verdict,
        ]
        for row in rows
    ]


def figure(scan: Scan) -> Figure:
    """Decay of every layer with its break-even rank; perplexity over size and, where known, latency."""
    timed = any(point.latency_s is not None for point in scan.points)
    drawn = blank_figure(14 if timed else 11, 4.6)
    axes = drawn.subplots(1, 3 if timed else 2)
    _decay(axes[0], scan.spectra)
    _front(axes[1], scan, [p.model_bytes / 1e6 for p in scan.points], "size of all weights (MB)")
    if timed:
        # A dense point without a time cannot occur: all are summed from one table.
        times = [(p.latency_s or 0.0) * 1e3 for p in scan.points]
        _front(axes[2], scan, times, f"selected layers, {scan.tokens} tokens (ms)")
    return drawn


def _decay(axes: Any, spectra: Mapping[str, tuple[Float64, int]]) -> None:
    palette = colours(len(spectra))
    for number, ((values, break_even), colour) in enumerate(zip(spectra.values(), palette, strict=True)):
        share = np.arange(1, len(values) + 1) / max(break_even, 1)
        label = f"{len(spectra)} layers" if number == 0 else None
        axes.semilogy(share, np.maximum(values, LOWEST), color=colour, linewidth=0.8, alpha=0.6, label=label)
    axes.axvline(1.0, color="black", linestyle="--", linewidth=1.2, label="break-even rank")
    axes.set_xlabel("rank / break-even rank")
    axes.set_ylabel("weighted singular value / first")
    axes.set_title("Decay, weighted by inputs and gradients")
    axes.grid(visible=True, which="both", linewidth=0.3)
    axes.legend(fontsize=8)


def _front(axes: Any, scan: Scan, x: Sequence[float], label: str) -> None:
    y = [point.in_domain.after for point in scan.points]
    low = [point.in_domain.rise - point.in_domain.low for point in scan.points]
    high = [point.in_domain.high - point.in_domain.rise for point in scan.points]
    error = [np.nan_to_num(low, posinf=0.0), np.nan_to_num(high, posinf=0.0)]
    axes.errorbar(x, y, yerr=error, fmt="o", color="#999999", markersize=5, linewidth=1, label="measured")
    kept = [i for i, point in enumerate(scan.points) if point in scan.front]
    kept.sort(key=x.__getitem__)
    axes.plot([x[i] for i in kept], [y[i] for i in kept], "o-", color="#1f4e79", label="not beaten")
    axes.annotate("dense", (x[0], y[0]), textcoords="offset points", xytext=(-6, 8), ha="right", fontsize=8)
    axes.set_xlabel(label)
    axes.set_ylabel("perplexity (95 % interval of the rise)")
    axes.grid(visible=True, linewidth=0.3)
    axes.legend(fontsize=8)


def check_page(path: Path) -> None:
    """Refuse an ending that no page has, before the work is done.

    Raises
    ------
    BadInput
        If the ending is none of .html .md .csv .json, or the folder is missing.
    """
    if path.suffix.lower() not in ENDINGS:
        raise BadInput(f"cannot tell the form of {path} from its ending; use one of {' '.join(ENDINGS)}")
    if not path.parent.is_dir():
        raise BadInput(f"cannot write {path}: there is no directory {path.parent}; make it first")


def write_page(path: Path, title: str, report: Report, payload: Mapping[str, object]) -> list[Path]:
    """Write the report, and beside a page the front as CSV; the files that were written."""
    from mfi_command import render

    render.write(path, title, report, payload)
    if path.suffix.lower() not in (".html", ".md"):
        return [path]
    beside = path.with_suffix(".csv")
    with atomic_file(beside) as temporary:
        temporary.write_text(render.to_csv(report), encoding="utf-8")
    return [path, beside]
