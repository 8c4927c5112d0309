"""The figure of an autoscaling study: replicas and queue over time, with and without the schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfi_command import require
from mm1_planner.autoscaling.study import AutoscalingStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_autoscaling(study: AutoscalingStudy) -> Figure:
    """Replicas above, requests waiting below, on one clock.

    Raises
    ------
    BadInput
        If matplotlib is not installed.
    """
    require("matplotlib", extra="plot", distribution="mm1-planner")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6.5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    runs = (("scaler alone", study.reactive, "tab:red"), ("with the schedule", study.scheduled, "tab:blue"))
    for name, run, colour in runs:
        minutes = [step.time_s / 60 for step in run.steps]
        label = f"{name}: {run.attainment:.2%} in time, {run.replica_hours:.3g} replica-hours"
        above.step(minutes, [step.ready for step in run.steps], where="post", color=colour, label=label)
        below.step(minutes, [step.waiting for step in run.steps], where="post", color=colour, label=name)
    if study.fixed is not None and study.fixed_replicas is not None:
        label = f"fixed: {study.fixed_replicas}, {study.fixed.replica_hours:.3g} replica-hours"
        above.axhline(study.fixed_replicas, color="0.5", linewidth=1, label=label)
    above.set_ylabel("replicas that serve")
    above.set_ylim(bottom=0)
    above.legend()
    below.set_ylabel("requests waiting")
    below.set_xlabel("minutes")
    below.set_yscale("symlog", linthresh=1)
    below.set_ylim(bottom=0)
    below.legend()
    scaler = study.scaler
    figure.suptitle(
        f"{study.slo}: {scaler.kind} on {scaler.metric}, target {scaler.target:g}, "
        f"start-up {scaler.startup_s:g} s",
        fontsize=11,
    )
    return figure
