"""Bandwidth by working set as a figure: each level of the memory shows as a plateau."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mfi_command import require
from roofline.measurement import Measurement

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = {
    "read": "#0b6e99",
    "write": "#b5451b",
    "copy": "#3a7d44",
    "add": "#7b5ea7",
    "write_nt": "#d98b6a",
    "copy_nt": "#86b98d",
}


def draw_sweep(measurement: Measurement) -> Figure:
    """Rates of each kernel over the working set, log-log; capacities of the caches as vertical lines, the
    level that each plateau gave as a horizontal one.

    Raises
    ------
    BadInput
        matplotlib is not installed.
    """
    figures: Any = require("matplotlib.figure", extra="plot", distribution="roofline")
    ticker: Any = require("matplotlib.ticker", extra="plot", distribution="roofline")
    figure: Figure = figures.Figure(figsize=(9, 5.2), layout="constrained")
    axes = figure.add_subplot()
    for name, colour in _COLOURS.items():
        key = f"{name}_bytes_per_s"
        rows = [row for row in measurement.sweep if key in row]
        if rows:
            sizes = [row["working_set_bytes"] for row in rows]
            axes.plot(sizes, [row[key] for row in rows], "o-", ms=3.5, lw=1.3, color=colour, label=name)
    axes.set(xscale="log", yscale="log", xlabel="working set", ylabel="GB/s")
    axes.xaxis.set_major_locator(ticker.LogLocator(base=4, numticks=16))
    axes.xaxis.set_major_formatter(lambda value, _: _binary(value))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value / 1e9:,.4g}")
    axes.yaxis.set_minor_formatter(ticker.NullFormatter())
    first, last = (measurement.sweep[i]["working_set_bytes"] for i in (0, -1))
    for name, size in measurement.cache_bytes.items():
        if first < size < last:
            axes.axvline(size, color="0.6", lw=0.9, ls=":")
            axes.annotate(
                f"{name.upper()} {_binary(size)}",
                (size, 1),
                xycoords=("data", "axes fraction"),
                xytext=(3, -12),
                textcoords="offset points",
                fontsize=8,
                color="0.35",
            )
    axes.axhline(measurement.bandwidth_bytes_per_s, color="0.4", lw=0.9, ls="--")
    axes.annotate(
        f"memory {measurement.bandwidth_bytes_per_s / 1e9:,.4g} GB/s ({measurement.bandwidth_kernel})",
        (0.01, measurement.bandwidth_bytes_per_s),
        xycoords=("axes fraction", "data"),
        xytext=(0, -11),
        textcoords="offset points",
        fontsize=8,
        color="0.25",
    )
    axes.grid(True, which="major", color="0.93", lw=0.6)
    axes.legend(frameon=False, ncols=3, loc="upper right")
    axes.set_title(measurement.device)
    return figure


def _binary(size: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:.3g} {unit}"
        size /= 1024
    raise AssertionError
