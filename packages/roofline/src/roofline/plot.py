"""The roofline as a figure: log-log, ceilings, kernels as points, labels clear of each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mfi_command import require
from roofline.analysis import Analysis
from roofline.chart import Chart, Point, Roof, chart_of
from roofline.kernels import KernelAnalysis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"memory": "#0b6e99", "compute": "#b5451b", "l2": "#3a7d44", "launch": "#7b5ea7", "link": "#8a6d00"}
# Where a label may stand, in points from its dot: nearest first, and below before above, since over a dot on
# the roof stands the name of the roof.
_OFFSETS = sorted(
    (
        (dx, dy)
        for dx in (10, -10, 45, -45, 80, -80, 120, -120)
        for dy in (*range(-150, -9, 14), *range(24, 90, 14))
    ),
    key=lambda offset: math.hypot(*offset) + (200 if offset[1] > 0 else 0),
)
_LONGEST_LABEL = 36


def draw_roofline(analysis: Analysis | KernelAnalysis) -> Figure:
    """The operators of `analysis` on the roofline of its device.

    Parameters
    ----------
    analysis
        From `analyze`, `analyze_torch` or `analyze_kernels`. A filled dot is where the kernel was measured;
        an open one lies on the roof, since nothing was measured. Where L2 traffic is known, a short bar of
        the kernel's colour stands at its intensity there, as high as the dot.

    Returns
    -------
    matplotlib.figure.Figure
        Not shown, not tied to a display.

    Raises
    ------
    BadInput
        matplotlib is not installed.
    """
    figures: Any = require("matplotlib.figure", extra="plot", distribution="roofline")
    canvas: Any = require("matplotlib.backends.backend_agg", extra="plot", distribution="roofline")
    chart = chart_of(analysis)
    figure: Figure = figures.Figure(figsize=(9, 5.6), layout="constrained")
    canvas.FigureCanvasAgg(figure)  # a renderer that knows how wide a text is, without a display
    axes = figure.add_subplot()
    _ceilings(axes, chart)
    _points(figure, axes, chart.points)
    axes.set_title(chart.title)
    return figure


def limits(chart: Chart) -> tuple[float, float, float, float]:
    """Left, right, bottom and top of the axes: every ridge and point, with room for their names."""
    memory = chart.roofs[0].bytes_per_s or 1.0
    slopes = [roof.bytes_per_s for roof in chart.roofs if roof.bytes_per_s]
    peaks = [roof.flop_per_s for roof in chart.roofs if roof.flop_per_s]
    ridges = [peak / memory for peak in peaks]
    seen = [point.intensity for point in chart.points]
    seen += [point.l2_intensity for point in chart.points if point.l2_intensity]
    left, right = min([*seen, *ridges]) / 4, max([*seen, *ridges]) * 30
    lowest = min([left * min(slopes), *(point.flop_per_s for point in chart.points)])
    return left, right, lowest / 6, max(peaks) * 4


def _ceilings(axes: Axes, chart: Chart) -> None:
    left, right, bottom, top = limits(chart)
    axes.set(xscale="log", yscale="log", xlim=(left, right), ylim=(bottom, top))
    highest = max(roof.flop_per_s for roof in chart.roofs if roof.flop_per_s)
    slowest = chart.roofs[0].bytes_per_s or 1.0
    slopes = [roof for roof in chart.roofs if roof.bytes_per_s]
    for number, roof in enumerate(slopes):
        _slope(axes, roof, left, highest, first=number == 0)
    # Over the upper ends of the caches' slopes no line passes; the fastest ends first and is named highest.
    caches = sorted(slopes[1:], key=lambda roof: roof.bytes_per_s or 0)
    for row, roof in enumerate(caches):
        at = (highest / (roof.bytes_per_s or 1), highest)
        _name(axes, roof.label, at, (2, 5 + 13 * row), "right", colour="0.45")
    for roof in chart.roofs:
        if roof.flop_per_s:
            ridge = roof.flop_per_s / slowest
            axes.plot([ridge, right], [roof.flop_per_s] * 2, color="0.25", lw=1.6, zorder=1)
            axes.plot([ridge, ridge], [bottom, roof.flop_per_s], color="0.8", lw=0.8, ls=":", zorder=0)
            _name(axes, roof.label, (right / 1.05, roof.flop_per_s), (0, 5), "right")
    axes.set_xlabel("arithmetic intensity, FLOP/byte")
    axes.set_ylabel("FLOP/s")
    axes.grid(True, which="major", color="0.93", lw=0.6)


def _slope(axes: Axes, roof: Roof, left: float, highest: float, *, first: bool) -> None:
    rate = roof.bytes_per_s or 1.0
    shade = "0.25" if first else "0.55"
    axes.plot([left, highest / rate], [left * rate, highest], color=shade, lw=1.6 if first else 1.0, zorder=1)
    if first:
        _name(axes, roof.label, (left * 1.15, left * 1.15 * rate), (14, -6), "left")


def _name(
    axes: Axes,
    text: str,
    at: tuple[float, float],
    offset: tuple[int, int],
    side: str,
    *,
    colour: str = "0.25",
) -> None:
    axes.annotate(
        text, at, xytext=offset, textcoords="offset points", ha=side, color=colour, fontsize=9
    ).set_in_layout(False)


def _points(figure: Figure, axes: Axes, points: Sequence[Point]) -> None:
    """Dots first; then each label at the first place where it meets no label, dot, ceiling or edge."""
    for point in points:
        colour = COLOURS[point.bound]
        axes.plot(
            point.intensity,
            point.flop_per_s,
            "o",
            ms=6,
            color=colour,
            mfc=colour if point.measured else "white",
            zorder=3,
        )
        if point.l2_intensity:
            axes.plot(point.l2_intensity, point.flop_per_s, "|", ms=9, color=colour, zorder=2)
    figure.draw_without_rendering()
    frame = axes.get_window_extent()
    taken: list[Any] = [text.get_window_extent() for text in axes.texts]
    dots = [axes.transData.transform((point.intensity, point.flop_per_s)) for point in points]
    dots += [spot for line in axes.lines for spot in _along(axes, line)]
    # From the right: a label stands to the right of its dot, so the leader lines come down in order.
    for point in reversed(points):
        at = (point.intensity, point.flop_per_s)
        taken.append(_label(axes, _short(point.label), at, COLOURS[point.bound], frame, taken, dots))


def _short(label: str) -> str:
    return label if len(label) <= _LONGEST_LABEL else f"{label[: _LONGEST_LABEL - 3]}..."


def _along(axes: Axes, line: Any) -> Any:
    """Spots a few points apart along a drawn line, which a label should not cover either."""
    ends = axes.transData.transform(line.get_xydata())
    if len(ends) < 2 or line.get_linestyle() == ":":
        return []
    steps = int(math.dist(ends[0], ends[-1]) // 4) + 2
    return [ends[0] + (ends[-1] - ends[0]) * step / (steps - 1) for step in range(steps)]


def _label(
    axes: Axes,
    label: str,
    at: tuple[float, float],
    colour: str,
    frame: Any,
    taken: list[Any],
    dots: list[Any],
) -> Any:
    text = axes.annotate(
        label,
        at,
        xytext=(0, 0),
        textcoords="offset points",
        fontsize=8,
        color=colour,
        va="center",
        arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.5, "alpha": 0.6},
    )
    text.set_in_layout(False)  # or the layout would shrink the axes, and every box found so far be wrong
    tried: list[tuple[int, int]] = []
    for offset in _OFFSETS:
        box = _moved(text, offset)
        inside = frame.x0 < box.x0 and box.x1 < frame.x1 and frame.y0 < box.y0 and box.y1 < frame.y1
        hits = sum(box.overlaps(other) for other in taken) + sum(box.contains(*dot) for dot in dots)
        if inside and not hits:
            return box
        tried.append((hits + (0 if inside else 10), len(tried)))
    return _moved(text, _OFFSETS[min(tried)[1]])


def _moved(text: Any, offset: tuple[float, float]) -> Any:
    text.xyann = offset
    text.set_ha("left" if offset[0] > 0 else "right")
    return _text_box(text)


def _text_box(text: Any) -> Any:
    """The box of the letters alone: the annotation's own extent includes its leader line."""
    from matplotlib.text import Text

    text.update_positions(text.figure.canvas.get_renderer())
    return Text.get_window_extent(text).padded(1.5)
