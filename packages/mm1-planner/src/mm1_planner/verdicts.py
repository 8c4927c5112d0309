"""A plan in a few sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping

from mm1_planner.dispersion import Burstiness
from mm1_planner.intervals import Estimate
from mm1_planner.sizing import Found, Question


def verdict_of(
    question: Question,
    decided: Found,
    basis: str,
    counts: Mapping[str, int | None],
    bursts: Burstiness | None,
) -> str:
    """The numbers at the answer and with one less, how sure that is, and what other methods ask for."""
    servers, workload = decided.servers, decided.workload
    assert servers is not None
    here = [f"{slo.metric} is {_with_interval(workload.estimate(servers, slo))}" for slo in question.slos]
    parts = [f"{_servers(servers)}: {', '.join(here)}"]
    if decided.one_less is not None:
        less = [_with_interval(workload.estimate(servers - 1, slo)) for slo in question.slos]
        parts.append(f"{_servers(servers - 1)}: {', '.join(less)}")
    elif servers > 1:
        parts.append(f"{_servers(servers - 1)}: unstable, load {question.load / (servers - 1):.4g}")
    if basis == "formula":
        parts.append("too close for simulation to tell, the exact formula decides")
    elif not decided.settled(question.slos):
        longer = "" if basis != "replay" else "; a trace has no longer run, for another day one more is safer"
        parts.append(
            "not settled: an interval holds the limit or is not known, one server more or less may be right"
            + longer
        )
    if question.limits:
        share = workload.at(servers).blocking
        parts.append(f"{share:.4g} of the requests leave unserved and count as late")
    parts.append(_others(question, servers, counts))
    if bursts is not None:
        parts.append(bursts.verdict)
    return "; ".join(parts)


def idle_verdict(servers: int) -> str:
    """No arrivals at all."""
    return f"{_servers(servers)}: idle, nothing arrives; the smallest number allowed is kept"


def _others(question: Question, servers: int, counts: Mapping[str, int | None]) -> str:
    method = question.formula(servers).method
    if question.limits:
        formula = "the formula does not count requests that leave unserved"
    elif counts["analytic_servers"] is None:
        formula = f"no number by formula ({method})"
    else:
        formula = f"the formula ({method}) asks for {counts['analytic_servers']}"
    if counts["replay_servers"] is None and counts["arrivals_servers"] is None:
        return formula
    formula += f", simulated Poisson arrivals for {counts['poisson_servers']}"
    if counts["arrivals_servers"] is not None:
        formula += f", the arrivals as given for {counts['arrivals_servers']}"
    if counts["replay_servers"] is not None:
        formula += f", the replay for {counts['replay_servers']}"
    return formula


def _servers(count: int) -> str:
    return f"{count} server" if count == 1 else f"{count} servers"


def _with_interval(estimate: Estimate) -> str:
    if math.isinf(estimate.value):
        return "endless"
    low, high = estimate.interval()
    known = f" (95 % interval {low:.4g} to {high:.4g})" if math.isfinite(low) else ""
    return f"{estimate.value:.4g} s{known}"
