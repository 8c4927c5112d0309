"""What `mm1-planner plan` answers for each kind of question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mfi_command import BadInput
from mfi_command.cli import Report, Table

Tick = Callable[[int, int], None]


def servers_report(asked: dict[str, Any], service: str, price: float | None, tick: Tick) -> Report:
    """One kind of server, one kind of traffic."""
    from mm1_planner.planning import plan
    from mm1_planner.plot import plot_plan
    from mm1_planner.tables import plan_tables

    answer = plan(service=service, cost_per_server_hour=price, on_progress=tick, **asked)
    return Report(
        answer.to_dict(),
        plan_tables(answer),
        answer.verdict.split("; ") if answer.feasible else [],
        draw=(lambda: plot_plan(answer)) if answer.curve else None,
        over_limit=None if answer.feasible else answer.verdict,
    )


def gpus_report(asked: dict[str, Any], gpus: Sequence[str], tick: Tick) -> Report:
    """Several kinds of server, the cheapest first; the rest of the answer is that one's."""
    from mm1_planner.cost import plan_gpus
    from mm1_planner.plot import plot_plan
    from mm1_planner.tables import gpu_table, plan_tables

    choice = plan_gpus(gpus, on_progress=tick, **asked)
    best = choice.best
    return Report(
        best.to_dict()
        | {"gpu": choice.plans[0][0].name if best.feasible else None, "gpus": choice.to_dict()},
        [gpu_table(choice), *plan_tables(best)],
        best.verdict.split("; ") if best.feasible else [],
        draw=(lambda: plot_plan(best)) if best.curve else None,
        over_limit=None if best.feasible else best.verdict,
    )


def classes_report(classes: Sequence[str], options: dict[str, Any], tick: Tick) -> Report:
    """Several kinds of traffic on one pool."""
    from mm1_planner.classes import plan_classes

    answer = plan_classes(classes, on_progress=tick, **options)
    rows = [
        [each.name, each.slo, each.analytic_s, each.simulated_s, *_known(each.low_s, each.high_s),
         *_known(each.with_one_less_s)]
        for each in answer.kept
    ]  # fmt: skip
    columns = [
        "class",
        "promise",
        "formula (s)",
        "simulated (s)",
        "95 % low",
        "95 % high",
        "with one less (s)",
    ]
    return Report(
        answer.to_dict(),
        [Table(f"{answer.servers} servers, {answer.discipline}", columns, rows)] if rows else [],
        answer.verdict.split("; ") if answer.feasible else [],
        over_limit=None if answer.feasible else answer.verdict,
    )


def llm_report(asked: dict[str, Any], service: str, price: float | None, least: int, tick: Tick) -> Report:
    """A server that batches tokens: promises on TTFT, ITL, TPOT and E2E."""
    from mm1_planner.cost import cost_of
    from mm1_planner.llm.planning import plan_llm
    from mm1_planner.replicas import parse_replica
    from mm1_planner.tables import llm_tables

    replica = parse_replica(service)
    if asked["arrival_rate_per_s"] == 0:
        return idle_llm_report(least, price)
    answer = plan_llm(replica=replica, on_progress=tick, **asked)
    cost = None
    if price is not None and answer.replicas is not None:
        cost = cost_of(answer.replicas, answer.arrival_rate_per_s, price)
    return Report(
        answer.to_dict() | {"servers": answer.replicas, "cost": cost},
        llm_tables(answer),
        answer.verdict.split("; ") if answer.feasible else [],
        over_limit=None if answer.feasible else answer.verdict,
    )


def idle_llm_report(least: int, price: float | None = None) -> Report:
    """No traffic: the least replicas."""
    from mm1_planner.cost import cost_of
    from mm1_planner.verdicts import idle_verdict

    fields: dict[str, object] = {
        "feasible": True,
        "reason": None,
        "replicas": least,
        "servers": least,
        "slos": [],
    }
    cost = None if price is None else cost_of(least, 0.0, price)
    verdict = idle_verdict(least)
    return Report({**fields, "cost": cost, "verdict": verdict}, [], [verdict])


def refuse(options: dict[str, object], why: str) -> None:
    """One sentence for options that do not go with the question.

    Raises
    ------
    BadInput
        If one of them is given.
    """
    given = [name for name, value in options.items() if value not in (None, [], ())]
    if given:
        raise BadInput(f"{', '.join(given)} {why}")


def _known(*values: float) -> list[object]:
    import math

    return [value if math.isfinite(value) else None for value in values]
