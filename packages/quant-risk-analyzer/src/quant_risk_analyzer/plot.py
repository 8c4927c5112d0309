"""Pictures of an answer; matplotlib is loaded when one is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mfi_command import require
from quant_risk_analyzer.report import RiskReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_risks(report: RiskReport) -> Figure:
    """Risk of each layer by format with its interval, on a logarithmic axis, and the limits of the grades."""
    require("matplotlib", extra="plot", distribution="quant-risk-analyzer")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.5 + 0.17 * len(report.layers)), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(report.layers))
    for name in report.formats:
        found = [layer.formats[name] for layer in report.layers]
        risk = np.array([each.risk for each in found])
        reach = np.abs(np.array([[each.risk_low, each.risk_high] for each in found]).T - risk)
        axes.errorbar(risk, places, xerr=np.nan_to_num(reach), fmt="o", markersize=4, linewidth=1, label=name)
    for limit, grade in ((report.thresholds.safe, "A | B"), (report.thresholds.risky, "B | C")):
        axes.axvline(limit, color="gray", linestyle="--", linewidth=1)
        axes.text(limit, 1, grade, transform=axes.get_xaxis_transform(), ha="center", va="bottom", fontsize=8)
    axes.set_yticks(places, [layer.name for layer in report.layers], fontsize=7)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("risk: expected rise of the loss, nats per token")
    axes.legend()
    return figure
