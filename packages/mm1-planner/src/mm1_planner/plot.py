"""The figures of a plan: the promised time by number of servers, by traffic, and the trace itself."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mfi_command import require
from mm1_planner.dispersion import Burstiness
from mm1_planner.plans import Plan
from mm1_planner.sensitivity import Sensitivity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_plan(plan: Plan) -> Figure:
    """Two panels: the promise by servers and by traffic; for a trace two more, its rate and dispersion.

    Raises
    ------
    BadInput
        If matplotlib is not installed.
    """
    require("matplotlib", extra="plot", distribution="mm1-planner")
    from matplotlib.figure import Figure

    rows = 1 if plan.burstiness is None else 2
    figure = Figure(figsize=(12, 4.5 * rows), layout="constrained")
    axes = figure.subplots(rows, 2, squeeze=False)
    _by_servers(axes[0, 0], plan)
    if plan.sensitivity is not None:
        _by_traffic(axes[0, 1], plan.sensitivity, plan.servers)
    if plan.burstiness is not None:
        plot_rates(axes[1, 0], plan.burstiness)
        plot_dispersion(axes[1, 1], plan.burstiness)
    service = plan.service if len(plan.service) < 60 else f"{plan.service[:57]}..."
    figure.suptitle(f"{plan.slo}: {plan.arrival_rate_per_s:.4g} requests/s, service {service}", fontsize=11)
    return figure


def plot_burstiness(found: Burstiness) -> Figure:
    """A trace's rate over time, and its index of dispersion by window beside the Poisson bound.

    Raises
    ------
    BadInput
        If matplotlib is not installed.
    """
    require("matplotlib", extra="plot", distribution="mm1-planner")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    plot_rates(left, found)
    plot_dispersion(right, found)
    return figure


def plot_rates(axes: Axes, found: Burstiness) -> None:
    """Arrivals per second by window."""
    starts = [rate.start_s for rate in found.rates]
    axes.step(starts, [rate.rate_per_s for rate in found.rates], where="post", color="tab:blue")
    axes.axhline(found.rate_per_s, color="0.5", linewidth=1, label=f"mean {found.rate_per_s:.4g}/s")
    axes.set_xlabel("time since the first request (s)")
    axes.set_ylabel("requests/s")
    axes.set_ylim(bottom=0)
    axes.legend()


def plot_dispersion(axes: Axes, found: Burstiness) -> None:
    """Variance over mean of the counts, by window."""
    windows = [scale.window_s for scale in found.dispersion]
    axes.plot(windows, [scale.index for scale in found.dispersion], "o-", color="tab:blue", label="trace")
    high = [scale.poisson_high for scale in found.dispersion]
    axes.plot(windows, high, "--", color="tab:orange", label="Poisson stays below")
    if windows:
        axes.set_xscale("log")
        axes.set_yscale("log")
    axes.set_xlabel("window (s)")
    axes.set_ylabel("variance / mean of the counts")
    axes.legend()


def _by_servers(axes: Axes, plan: Plan) -> None:
    from matplotlib.ticker import MaxNLocator

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
        label="formula" if plan.burstiness is None else "formula, Poisson arrivals",
    )
    axes.axhline(plan.limit_s, color="tab:red", linewidth=1, label=f"limit {plan.limit_s:g} s")
    if plan.servers is not None:
        axes.axvline(plan.servers, color="tab:green", linewidth=1, label=f"plan: {plan.servers}")
    axes.set_xlabel("servers")
    axes.set_ylabel(f"{plan.metric.removesuffix('_s').replace('_', ' ')} (s)")
    # Few servers can be a hundred times slower; the neighbourhood of the limit is what is read here.
    lowest = min((value for value in simulated if math.isfinite(value)), default=0.0)
    axes.set_ylim(0, max(4 * plan.limit_s, 1.2 * lowest))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()


def _by_traffic(axes: Axes, found: Sensitivity, servers: int | None) -> None:
    for course, name, colour in (
        (found.rate, "traffic", "tab:blue"),
        (found.service, "service", "tab:purple"),
    ):
        known = [each for each in course if math.isfinite(each.of_limit) and each.of_limit > 0]
        axes.plot(
            [each.factor for each in known],
            [each.of_limit for each in known],
            "o-",
            color=colour,
            markersize=4,
            label=f"{name} times the factor",
        )
    axes.axhline(1, color="tab:red", linewidth=1, label="limit")
    axes.axvline(
        found.headroom, color="0.5", linewidth=1, linestyle=":", label=f"holds to {found.headroom:.3g}"
    )
    axes.set_yscale("log")
    axes.set_xlabel(f"factor, with {servers} servers")
    axes.set_ylabel("promise closest to its limit, of the limit")
    axes.legend()
