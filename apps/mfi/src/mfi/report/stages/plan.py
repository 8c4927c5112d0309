"""How many replicas keep the promise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mfi.report.page import Section
from mfi.report.question import Decided
from mfi.report.stages.stage import Stage, Tick
from mfi_command.report import Table

if TYPE_CHECKING:
    from latency_predictor import Prediction
    from mm1_planner import Plan


def plan_stage(question: Decided, request: Prediction, tick: Tick) -> Stage:
    """How many replicas keep the promise, at the predicted latency and at the upper end of its interval."""
    from mm1_planner import plan
    from mm1_planner.plot import plot_plan

    answers = {}
    for done, (name, mean_s) in enumerate((("predicted", request.total_s), ("upper end", request.high_s))):
        answers[name] = plan(
            arrival_rate_per_s=question.arrival_rate_per_s,
            service=f"exp:{mean_s!r}",
            slo=question.slo,
            seed=question.seed,
        )
        tick(done + 1, 2)
    expected, worst = answers["predicted"], answers["upper end"]
    answer = _answer(question, expected, worst)
    rows = []
    for name, item in answers.items():
        simulated = item.simulated.to_dict() if item.simulated else {}
        rows.append(
            [
                name,
                item.mean_service_s,
                item.servers,
                item.analytic_servers,
                _of(simulated, item.metric),
                item.limit_s,
                item.verdict,
            ]
        )
    columns = ["latency", "mean service, s", "replicas", "by formula", item.metric, "limit, s", "verdict"]
    return Stage(
        Section(
            id="plan",
            title="How many replicas keep the promise?",
            answer=answer,
            how=(
                "One replica serves one request at a time; Poisson arrivals, exponential request times,"
                " one queue. The count is the smallest that keeps the promise in simulation, with the"
                " formula beside it. Batching on a replica needs fewer; bursty traffic needs more: give"
                " your trace to mm1-planner plan --trace."
            ),
            tables=[Table("Plan", columns, rows)],
            figures=[(f"{expected.metric} by number of replicas", plot_plan(expected))]
            if expected.feasible
            else [],
        ),
        {name.replace(" ", "_"): item.to_dict() for name, item in answers.items()},
    )


def _of(simulated: Mapping[str, Any], metric: str) -> object:
    value = simulated.get(metric)
    return value.get("value") if isinstance(value, Mapping) else value


def _answer(question: Decided, expected: Plan, worst: Plan) -> str:
    asked = f"{question.arrival_rate_per_s:g} requests/s with {question.slo} s"
    if expected.servers is None:
        return f"{asked} cannot be met: {expected.reason}."
    if worst.servers == expected.servers:
        margin = "also at the upper end of the predicted latency"
    elif worst.servers is None:
        margin = "but at the upper end of the predicted latency it cannot be met"
    else:
        margin = f"{worst.servers} at the upper end of the predicted latency"
    return f"{asked}: {expected.servers} replicas, {margin}."
