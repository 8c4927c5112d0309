"""Figures: the decay of singular values, and the film of a 2x2 matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mfi_command import require
from svd_compress.geometry import Geometry, maps
from svd_compress.matrices import Float64
from svd_compress.spectra import Spectrum

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CIRCLE, LONG, SHORT, FAINT = "#1f4e79", "#c0392b", "#1e8449", "#bbbbbb"
LABELLED = 8
# A singular value below this share of the other is the rounding of zero.
ROUNDING = 1e-14


def blank_figure(width: float, height: float) -> Figure:
    """A figure of its own: pyplot keeps every figure it made, and wants to know about a screen."""
    require("matplotlib", extra="plot", distribution="svd-compress")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def decay_figure(spectra: Sequence[Spectrum]) -> Figure:
    """Singular values on a log axis over the rank; a mark on each curve at its break-even rank.

    A curve that is still high at its mark belongs to a layer that no rank compresses.
    """
    figure = blank_figure(8, 5)
    axes = figure.subplots()
    palette = colours(len(spectra))
    for number, (item, colour) in enumerate(zip(spectra, palette, strict=True)):
        label = f"{item.name} (top 10: {item.top10_energy:.0%})" if len(spectra) <= LABELLED else None
        ranks = np.arange(1, len(item.decay) + 1)
        axes.semilogy(ranks, np.maximum(item.decay, 1e-7), color=colour, linewidth=1.2, label=label)
        k = item.break_even_rank
        if 1 <= k <= len(item.decay):
            mark = "break-even rank" if number == 0 else None
            axes.plot(
                k, item.decay[k - 1], "o", color=colour, markersize=5, markeredgecolor="black", label=mark
            )
    axes.set_xlabel("i")
    axes.set_ylabel("σᵢ / σ₁")
    axes.set_title(f"Decay of the singular values, {len(spectra)} layers")
    axes.grid(visible=True, which="both", linewidth=0.3)
    axes.legend(fontsize=8)
    return figure


def colours(count: int) -> list[Any]:
    """Colours that tell so many curves apart."""
    from matplotlib import colormaps

    if count <= LABELLED:
        return [colormaps["tab10"](i) for i in range(count)]
    return [colormaps["viridis"](i / (count - 1)) for i in range(count)]


def film(
    geometry: Geometry,
    path: str | Path,
    *,
    frames: int = 48,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a GIF: the unit circle rotated, stretched and rotated into the ellipse of the matrix.

    Parameters
    ----------
    geometry
        From `take_apart`.
    path
        The file; its ending should be .gif.
    frames
        Frames of the motion; the first and the last stand still for a second.
    on_progress
        Called with (frames done, frames in all).
    """
    from PIL import Image

    reach = _reach(geometry)
    pictures: list[Image.Image] = []
    steps = maps(geometry, frames)
    for done, (stage, M) in enumerate(steps, 1):
        figure = frame(geometry, stage, M, reach=reach, share=done / frames)
        figure.canvas.draw()
        pixels = np.asarray(figure.canvas.buffer_rgba())  # type: ignore[attr-defined]
        # One palette for all frames: a palette of its own makes a frame flicker.
        image = Image.fromarray(pixels[..., :3])
        pictures.append(image.quantize(64) if not pictures else image.quantize(palette=pictures[0]))
        if on_progress is not None:
            on_progress(done, frames)
    pause = [1000, *[60] * (frames - 2), 1000]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=pause, loop=0, optimize=True)


def write_film(
    geometry: Geometry,
    output: Path,
    *,
    frames: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """A GIF, or for a path without an ending a new folder with frame-000.svg and so on; whole or not at all.

    Raises
    ------
    BadInput
        If the ending is another one, or the folder is not new.
    """
    from mfi_command import BadInput, atomic_directory, atomic_file

    if output.suffix.lower() == ".gif":
        with atomic_file(output) as path:
            film(geometry, path, frames=frames, on_progress=on_progress)
        return
    if output.suffix:
        raise BadInput(f"--output is {output}; a film is written as .gif, or as SVG files into a new folder")
    with atomic_directory(output) as folder:
        steps = maps(geometry, frames)
        for number, (stage, M) in enumerate(steps):
            drawn = frame(geometry, stage, M, reach=_reach(geometry), share=(number + 1) / frames)
            drawn.savefig(folder / f"frame-{number:03}.svg", format="svg", metadata={"Date": None})
            if on_progress is not None:
                on_progress(number + 1, frames)


def _reach(geometry: Geometry) -> float:
    return 1.15 * max(1.0, float(geometry.singular_values[0]))


def frame(geometry: Geometry, stage: str, M: Float64, *, reach: float, share: float) -> Figure:
    """One picture: the circle under `M`, the two singular directions, and how far the film is."""
    figure = blank_figure(4.4, 4.6)
    axes = figure.subplots()
    angles = np.linspace(0, 2 * np.pi, 200)
    circle = np.stack([np.cos(angles), np.sin(angles)])
    axes.plot(*circle, color=FAINT, linewidth=1)
    axes.plot(*(M @ circle), color=CIRCLE, linewidth=2)
    # Spokes turn with the plane, so that a rotation of the circle can be seen.
    spokes = M @ circle[:, ::25]
    axes.plot(np.stack([0 * spokes[0], spokes[0]]), np.stack([0 * spokes[1], spokes[1]]), color=FAINT, lw=0.7)
    _arrows(axes, geometry, M)
    # Also what keeps the frames of a matrix that does nothing apart: equal frames are merged in a GIF.
    axes.plot([-reach, (2 * share - 1) * reach], [-reach, -reach], color=CIRCLE, linewidth=5)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    axes.grid(visible=True, linewidth=0.3)
    sigma_1, sigma_2 = geometry.singular_values
    collapsed = sigma_2 <= ROUNDING * sigma_1
    turned = ", the plane turned over" if geometry.stretch[1] < 0 and not collapsed else ""
    if collapsed:
        sigma_2, turned = 0.0, ", the plane collapses" + (" to a line" if sigma_1 else "")
    axes.set_title(f"{stage}\nσ₁ = {sigma_1:.4g}, σ₂ = {sigma_2:.4g}{turned}", fontsize=10)
    return figure


def _arrows(axes: Axes, geometry: Geometry, M: Float64) -> None:
    from svd_compress.geometry import rotation

    # The rows of V^T: the directions of the circle that become the half-axes.
    directions = rotation(geometry.first_angle)
    for direction, colour in zip(directions, (LONG, SHORT), strict=True):
        x, y = M @ direction
        axes.plot([0, x], [0, y], color=colour, linewidth=2.5)
        axes.plot(x, y, "o", color=colour, markersize=6)
