"""The roofline as a figure: log-log, ceilings, operators as points, labels clear of each other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mfi_command import require
from roofline.analysis import Analysis
from roofline.placing import Placed
from roofline.hardware import Device

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {"memory": "#0b6e99", "compute": "#b5451b"}
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


def merged(operators: Iterable[Placed]) -> list[tuple[str, float, float, str]]:
    """Points that the eye cannot tell apart as one: (label, intensity, FLOP/s, bound), gathers left out."""
    groups: dict[tuple[float, float], list[Placed]] = {}
    for placed in operators:
        if placed.operator.flop:
            reached = placed.operator.flop / placed.time_s
            place = (
                round(math.log10(placed.operator.intensity_flop_per_byte), 1),
                round(math.log10(reached), 1),
            )
            groups.setdefault(place, []).append(placed)
    points = []
    for members in groups.values():
        largest = max(members, key=lambda placed: placed.time_s)
        points.append(
            (
                ", ".join(member.operator.name for member in members),
                largest.operator.intensity_flop_per_byte,
                largest.operator.flop / largest.time_s,
                largest.bound,
            )
        )
    return sorted(points, key=lambda point: point[1])


def draw_roofline(analysis: Analysis) -> Figure:
    """The operators of `analysis` on the roofline of its device.

    Parameters
    ----------
    analysis
        From `analyze`. Every point lies on a ceiling: the figure shows what binds, not what was reached.

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
    figure: Figure = figures.Figure(figsize=(9, 5.6), layout="constrained")
    canvas.FigureCanvasAgg(figure)  # a renderer that knows how wide a text is, without a display
    axes = figure.add_subplot()
    points = merged(analysis.operators)
    used = {analysis.dtype} | ({"fp32"} & set(analysis.device.peaks_flop_per_s))
    _ceilings(axes, analysis.device, sorted(used), [point[1] for point in points])
    _points(figure, axes, points)
    axes.set_title(
        f"{analysis.device.name}: {analysis.phase}, batch {analysis.batch}, sequence {analysis.sequence},"
        f" {analysis.dtype}"
    )
    return figure


def _ceilings(axes: Axes, device: Device, dtypes: Sequence[str], intensities: Sequence[float]) -> None:
    ridges = [device.ridge_flop_per_byte(dtype) for dtype in dtypes]
    left = min([*intensities, *ridges]) / 4
    right = max([*intensities, *ridges]) * 30
    top = max(device.peak_flop_per_s(dtype) for dtype in dtypes)
    axes.set(xscale="log", yscale="log", xlim=(left, right))
    axes.set_ylim(left * device.bandwidth_bytes_per_s / 6, top * 4)
    reach = top / device.bandwidth_bytes_per_s
    axes.plot([left, reach], [left * device.bandwidth_bytes_per_s, top], color="0.25", lw=1.6, zorder=1)
    axes.annotate(
        f"{device.bandwidth_bytes_per_s / 1e9:,.4g} GB/s",
        (left * 1.15, left * 1.15 * device.bandwidth_bytes_per_s),
        xytext=(14, -6),
        textcoords="offset points",
        color="0.25",
    )
    for dtype, ridge in zip(dtypes, ridges, strict=True):
        peak = device.peak_flop_per_s(dtype)
        axes.plot([ridge, right], [peak, peak], color="0.25", lw=1.6, zorder=1)
        axes.plot([ridge, ridge], [1, peak], color="0.8", lw=0.8, ls=":", zorder=0)
        axes.annotate(
            f"{dtype} {peak / 1e12:,.4g} TFLOP/s, ridge {ridge:,.4g}",
            (right / 1.05, peak),
            xytext=(0, 5),
            textcoords="offset points",
            ha="right",
            color="0.25",
        )
    axes.set_xlabel("arithmetic intensity, FLOP/byte")
    axes.set_ylabel("attainable, FLOP/s")
    axes.grid(True, which="major", color="0.93", lw=0.6)


def _points(figure: Figure, axes: Axes, points: Sequence[tuple[str, float, float, str]]) -> None:
    """Dots first; then each label at the first place where it meets no label, dot, ceiling or edge."""
    for _, intensity, reached, bound in points:
        axes.plot(intensity, reached, "o", ms=6, color=_COLOURS[bound], zorder=3)
    figure.draw_without_rendering()
    frame = axes.get_window_extent()
    taken: list[Any] = [text.get_window_extent() for text in axes.texts]
    dots = [axes.transData.transform((intensity, reached)) for _, intensity, reached, _ in points]
    dots += [spot for line in axes.lines for spot in _along(axes, line)]
    # From the right: a label stands to the right of its dot, so the leader lines come down in order.
    for label, intensity, reached, bound in reversed(points):
        taken.append(_label(axes, label, (intensity, reached), _COLOURS[bound], frame, taken, dots))


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
