"""The figures of the report that join several tools; each tool draws its own where it can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

_NO_RISK = 1e-12  # a risk of exactly zero has no place on a logarithmic scale


def risk_map(cells: Mapping[tuple[int, str], tuple[float, str]], roles: Sequence[str], title: str) -> Figure:
    """A heat map, block by role: the colour is the risk, the letter is the rating.

    Parameters
    ----------
    cells
        (block, role) -> (risk in nats per token, rating).
    roles
        Columns, in order.
    title
        Stands above the map.
    """
    blocks = sorted({block for block, _ in cells})
    grid = np.full((len(blocks), len(roles)), np.nan)
    for (block, role), (risk, _) in cells.items():
        grid[blocks.index(block), roles.index(role)] = max(risk, _NO_RISK)
    figure = Figure(figsize=(8, max(2.2, 0.32 * len(blocks) + 1)))
    axes = figure.subplots()
    image = axes.imshow(grid, aspect="auto", cmap="YlOrRd", norm=LogNorm())
    figure.colorbar(image, ax=axes, label="risk, nats per token")
    middle = float(np.sqrt(np.nanmin(grid) * np.nanmax(grid)))
    for (block, role), (risk, rating) in cells.items():
        axes.text(
            roles.index(role),
            blocks.index(block),
            rating,
            ha="center",
            va="center",
            fontsize=9,
            color="white" if risk > middle * 3 else "black",
        )
    axes.set_xticks(range(len(roles)), list(roles))
    axes.set_yticks(range(len(blocks)), [str(block) for block in blocks])
    axes.set_xlabel("role")
    axes.set_ylabel("block")
    axes.set_title(title)
    return figure


def latency_by_batch(
    batches: Sequence[int],
    decode_step_s: Sequence[float],
    low_s: Sequence[float],
    high_s: Sequence[float],
    tokens_per_s: Sequence[float],
) -> Figure:
    """A decode step with its interval, and the throughput that the batch buys."""
    figure = Figure(figsize=(8, 3.6))
    left, right = figure.subplots(1, 2)
    left.fill_between(
        batches, np.asarray(low_s) * 1e3, np.asarray(high_s) * 1e3, alpha=0.25, label="90 % interval"
    )
    left.plot(batches, np.asarray(decode_step_s) * 1e3, marker="o", label="predicted")
    left.set_ylabel("decode step, ms")
    left.set_ylim(bottom=0)
    left.legend()
    right.plot(batches, tokens_per_s, marker="o", color="tab:green")
    right.set_ylabel("tokens per second")
    right.set_yscale("log")
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xticks(batches, [str(batch) for batch in batches])
        axes.set_xlabel("batch, sequences")
        axes.grid(alpha=0.3, which="both")
    figure.tight_layout()
    return figure
