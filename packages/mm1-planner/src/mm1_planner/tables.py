"""What a person reads: one row a metric, formula and simulation side by side."""

from __future__ import annotations

import math

from mfi_command.cli import Table
from mm1_planner.cost import GpuChoice
from mm1_planner.intervals import Estimate
from mm1_planner.llm.planning import LlmPlan
from mm1_planner.models.answer import METRICS
from mm1_planner.plans import Plan
from mm1_planner.sensitivity import Sensitivity
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
        return ["NOT CONVERGED: the run is too short for this load and the precision"]
    return []


def plan_tables(plan: Plan) -> list[Table]:
    """The answer, each promise, the metric around it, and what more traffic would need."""
    if not plan.feasible:
        return []
    cost = plan.cost or {}
    choice = {
        "servers": plan.servers,
        "offered load": plan.offered_load,
        "formula": plan.analytic_servers,
        "Poisson": plan.poisson_servers,
        "as given": plan.arrivals_servers,
        "replay": plan.replay_servers,
        "cost/h": cost.get("per_hour"),
        "cost/1e6 requests": cost.get("per_million_requests"),
    }
    asked = {name: value for name, value in choice.items() if value is not None}
    tables = [Table("Plan", list(asked), [list(asked.values())])]
    if plan.slos:
        rows = [
            [
                kept.slo,
                *_or_endless(kept.analytic_s, kept.simulated_s),
                *_finite(kept.low_s, kept.high_s),
                *_or_endless(kept.with_one_less_s),
            ]
            for kept in plan.slos
        ]
        names = ["promise", "formula (s)", "simulated (s)", "95 % low", "95 % high", "with one less (s)"]
        tables.append(Table(f"{plan.servers} servers", names, rows))
    if plan.curve:
        points = [
            [p.servers, *_or_endless(p.analytic_s, p.simulated_s), *_finite(p.low_s, p.high_s)]
            for p in plan.curve
        ]
        around = ["servers", "formula (s)", "simulated (s)", "95 % low", "95 % high"]
        tables.append(Table(f"{plan.metric} around it", around, points))
    if plan.sensitivity is not None:
        tables.append(_sensitivity_table(plan.sensitivity, plan.servers))
    return tables


def _sensitivity_table(found: Sensitivity, servers: int | None) -> Table:
    """The promise closest to its limit, over that limit, when an input is off by a factor."""
    needed = {each.factor: each.servers for each in found.needed}
    rows: list[list[object]] = [
        [rate.factor, *_or_endless(rate.of_limit, service.of_limit), needed.get(rate.factor)]
        for rate, service in zip(found.rate, found.service, strict=True)
    ]
    title = f"If traffic or service is off: {servers} servers hold up to {found.headroom:.3g} times the rate"
    return Table(title, ["factor", "traffic: of limit", "service: of limit", "servers by formula"], rows)


def gpu_table(choice: GpuChoice) -> Table:
    """Kinds of servers, the cheapest first."""
    rows: list[list[object]] = [
        [
            gpu.name,
            gpu.service,
            gpu.price_per_hour,
            plan.servers,
            (plan.cost or {}).get("per_hour"),
            plan.reason,
        ]
        for gpu, plan in choice.plans
    ]
    return Table(
        "By GPU, the cheapest first", ["GPU", "service", "price/h", "servers", "cost/h", "why not"], rows
    )


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


def _or_endless(*numbers: float | None) -> list[object]:
    told: list[object] = []
    for number in numbers:
        unknown = number is None or math.isnan(number)
        told.append(None if unknown else "endless" if math.isinf(number or 0.0) else number)
    return told


def _finite(*numbers: float) -> list[object]:
    return [number if math.isfinite(number) else None for number in numbers]
