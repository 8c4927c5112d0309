"""What a person reads: one row a metric, formula and simulation side by side."""

from __future__ import annotations

import math

from mfi_command.cli import Table
from mm1_planner.intervals import Estimate
from mm1_planner.llm.planning import LlmPlan
from mm1_planner.models.answer import METRICS
from mm1_planner.planning import Plan
from mm1_planner.simulation import Simulation
from mm1_planner.solution import Solution


def solution_table(solution: Solution) -> Table:
    """Formula, simulation and 95 % interval of each metric."""
    answer, run = solution.answer, solution.simulated
    rows: list[list[object]] = []
    for metric in METRICS:
        formula = float(getattr(answer, metric))
        simulated = _interval(run.estimates[metric]) if run is not None else [None, None, None]
        rows.append([metric, formula if math.isfinite(formula) else "unbounded", *simulated])
    title = f"{answer.model}, utilization {answer.utilization:.4g}"
    if answer.blocking:
        title += f", turned away {answer.blocking:.4g}"
    return Table(title, ["", "formula", "simulated", "95 % low", "95 % high"], rows)


def simulation_table(run: Simulation) -> Table:
    """Simulation and 95 % interval of each metric."""
    rows = [[metric, *_interval(run.estimates[metric])] for metric in METRICS]
    title = f"{run.customers} customers after {run.warmup} of warm-up, load {run.load:.4g}"
    return Table(title, ["", "simulated", "95 % low", "95 % high"], rows)


def simulation_notes(run: Simulation) -> list[str]:
    """What to know before the numbers are used."""
    if not run.stable:
        return [f"unstable: the load is {run.load:.6g}; these numbers grow with the length of the run"]
    if not run.converged:
        return ["NOT CONVERGED: the run is short for this load, its intervals are too narrow"]
    return []


def plan_tables(plan: Plan) -> list[Table]:
    """The answer, then the metric around it."""
    if not plan.feasible:
        return []
    cost = plan.cost or {}
    choice: list[object] = [plan.servers, plan.slo, plan.offered_load, plan.analytic_servers]
    choice += [
        plan.poisson_servers,
        plan.replay_servers,
        cost.get("per_hour"),
        cost.get("per_million_requests"),
    ]
    columns = ["servers", "promise", "load", "formula", "Poisson", "replay", "cost/h", "cost/1e6 requests"]
    points = [[p.servers, p.analytic_s, p.simulated_s, *_finite(p.low_s, p.high_s)] for p in plan.curve]
    around = ["servers", "formula (s)", "simulated (s)", "95 % low", "95 % high"]
    return [Table("Plan", columns, [choice]), Table(f"{plan.metric} around it", around, points)]


def llm_tables(plan: LlmPlan) -> list[Table]:
    """The promises with the replicas found and with one less; then what requests see."""
    if not plan.feasible or plan.simulated is None or plan.analytic is None:
        return []
    kept = [[str(slo), *_finite(value, less)] for slo, value, less in plan.slos]
    promises = Table(f"{plan.replicas} replicas", ["promise", "measured (s)", "with one less (s)"], kept)
    rows: list[list[object]] = []
    for what in ("ttft", "itl", "tpot", "e2e"):
        formula = getattr(plan.analytic, f"mean_{what}_s", None)
        if what == "itl":
            rows += [
                [name, formula if "mean" in name else None, value]
                for name, value in plan.simulated.itl.items()
            ]
            continue
        for name, estimate in plan.simulated.estimates.items():
            if f"_{what}_" in name:
                rows.append([name, formula if "mean" in name else None, *_interval(estimate)])
    run = plan.simulated
    title = f"What {run.requests} requests see, {run.mean_batch:.3g} of them decoding at a time"
    rows = [row + [None] * (5 - len(row)) for row in rows]
    return [promises, Table(title, ["", "formula", "simulated", "95 % low", "95 % high"], rows)]


def _interval(estimate: Estimate) -> list[object]:
    return [estimate.value, *_finite(*estimate.interval())]


def _finite(*numbers: float) -> list[object]:
    return [number if math.isfinite(number) else None for number in numbers]
