"""The curves of quantization-aware training; matplotlib is loaded when they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfi_command import require
from quant_risk_analyzer.qat import Curves

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_training(curves: Curves) -> Figure:
    """Loss of the quantized network by step, one line an optimizer; dashed: rounded after training."""
    require("matplotlib", extra="plot", distribution="quant-risk-analyzer")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for name, losses in curves.losses.items():
        (line,) = axes.plot(losses, label=f"{name}, quantized while training")
        axes.axhline(
            curves.rounded_after[name],
            color=line.get_color(),
            linestyle="--",
            linewidth=1,
            label=f"{name}, rounded after training",
        )
    axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_ylabel(f"mean squared error of the {curves.format} network")
    axes.legend(fontsize=8)
    return figure
