"""The figure of a plan: the promised time against the number of servers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mfi_command import require
from mm1_planner.planning import Plan

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_plan(plan: Plan) -> Figure:
    """Simulation with its 95 % interval, formula, limit and choice, by number of servers.

    Raises
    ------
    BadInput
        If matplotlib is not installed.
    """
    require("matplotlib", extra="plot", distribution="mm1-planner")
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    servers = [point.servers for point in plan.curve]
    simulated = [point.simulated_s for point in plan.curve]
    name = "replay of the trace" if plan.basis == "replay" else "simulated"
    axes.plot(servers, simulated, "o-", color="tab:blue", label=f"{name}, 95 % interval")
    known = [point for point in plan.curve if math.isfinite(point.low_s)]
    axes.fill_between(
        [point.servers for point in known],
        [point.low_s for point in known],
        [point.high_s for point in known],
        color="tab:blue",
        alpha=0.2,
    )
    formula = [point for point in plan.curve if math.isfinite(point.analytic_s)]
    axes.plot(
        [point.servers for point in formula],
        [point.analytic_s for point in formula],
        "s--",
        color="tab:orange",
        markersize=4,
        label="formula, Poisson arrivals",
    )
    axes.axhline(plan.limit_s, color="tab:red", linewidth=1, label=f"limit {plan.limit_s:g} s")
    if plan.servers is not None:
        axes.axvline(plan.servers, color="tab:green", linewidth=1, label=f"plan: {plan.servers}")
    axes.set_xlabel("servers")
    axes.set_ylabel(f"{plan.metric.removesuffix('_s').replace('_', ' ')} (s)")
    # Few servers can be a hundred times slower; the neighbourhood of the limit is what is read here.
    axes.set_ylim(0, max(4 * plan.limit_s, 1.2 * min(simulated, default=0.0)))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(
        f"{plan.slo}: {plan.arrival_rate_per_s:.4g} requests/s, service {plan.service}", fontsize=10
    )
    axes.legend()
    return figure
