"""Rows of mm1-planner: formulas against two simulators, and plans against simulations of their own."""

from __future__ import annotations

import math

import mm1_planner
from mfi.checks import Outcome, check

# Load, customers of a run, runs. Longer where the queue forgets slowly: about 4 / (1 - load)^2 customers.
FAST = [
    *((load, 200_000, 20) for load in (0.15, 0.3, 0.45, 0.6, 0.7)),
    (0.8, 400_000, 20),
    (0.9, 1_000_000, 6),
    (0.95, 3_000_000, 3),
    (0.98, 8_000_000, 2),
]
SIMPY = [(load, 20_000, 1) for load in (0.15, 0.3, 0.45, 0.6, 0.7, 0.8)]

PLANS = [
    (rate, service, slo)
    for rate, service in [
        (0.5, "exp:1"),
        (4, "exp:0.5"),
        (10, "exp:0.3"),
        (60, "exp:0.1"),
        (10, "det:0.3"),
        (10, "gamma:0.3:0.5"),
        (10, "lognormal:0.3:1.5"),
        (25, "lognormal:0.2:2"),
    ]
    for slo in ("p99_wait<{0.5}", "p95_wait<{0.2}", "p99_sojourn<{12}")
]


@check(
    "w31-mm1",
    title="M/M/1 L, Lq, W, Wq and percentiles: formula, simpy and the fast simulator, loads to 0.98",
    bound="formula inside the 99 % interval in >= 98 % of cells",
    unit="share of cells inside",
)
def mm1() -> Outcome:
    """Every metric of every run is a cell; simpy also has to give what the fast engine gives."""
    cells: dict[str, list[bool]] = {"fast": [], "simpy": []}
    widths: list[float] = []
    differences = 0
    for engine, grid in (("fast", FAST), ("simpy", SIMPY)):
        for load, customers, runs in grid:
            exact = mm1_planner.MM1(load, 1.0).answer()
            for replication in range(runs):
                run = _simulate(load, customers, replication, engine)
                inside, width = _inside(run, exact)
                cells[engine] += inside
                widths += width
                if engine == "simpy":
                    differences += run.estimates != _simulate(load, customers, replication, "fast").estimates
    shares = {engine: sum(inside) / len(inside) for engine, inside in cells.items()}
    total = sum(map(len, cells.values()))
    share = sum(map(sum, cells.values())) / total
    median = sorted(widths)[len(widths) // 2]
    detail = (
        f"{total} cells, fast {shares['fast']:.4f} of {len(cells['fast'])}, simpy {shares['simpy']:.4f} of "
        f"{len(cells['simpy'])}; median half-width {median:.1%}; {differences} of {len(SIMPY)} simpy runs "
        "differ from the fast engine"
    )
    return Outcome(share, share >= 0.98 and differences == 0 and total > 1000, detail)


def _simulate(load: float, customers: int, replication: int, engine: str) -> mm1_planner.Simulation:
    return mm1_planner.simulate(
        arrival_rate_per_s=load,
        service="exp:1",
        customers=customers,
        engine=engine,
        seed=31,
        replication=replication,
    )


def _inside(run: mm1_planner.Simulation, exact: mm1_planner.Answer) -> tuple[list[bool], list[float]]:
    """For each metric with an interval: whether it holds the formula, and its half-width relative to it."""
    inside, widths = [], []
    for metric in mm1_planner.METRICS:
        low, high = run.estimates[metric].interval(0.99)
        value = getattr(exact, metric)
        if math.isfinite(low):
            inside.append(low <= value <= high)
            widths.append((high - low) / 2 / value if value else 0.0)
    return inside, widths


@check(
    "w32-plan",
    title="Servers for a rate and a percentile target: n meets it in a simulation of its own, n - 1 does not",
    bound="every one of >= 20 cases",
    unit="cases that hold",
)
def plans() -> Outcome:
    """Each plan is tried again on a seed that it has not seen."""
    wrong = []
    chosen = []
    for rate, service, template in PLANS:
        mean_s = mm1_planner.parse_service(service).mean_s
        factor = float(template[template.index("{") + 1 : -1])
        slo = f"{template[: template.index('{')]}{factor * mean_s:.6g}"
        plan = mm1_planner.plan(arrival_rate_per_s=rate, service=service, slo=slo, around=False)
        chosen.append(plan.servers or 0)
        if plan.servers is None or not _holds(plan, rate, service):
            wrong.append(f"{service} at {rate}/s, {slo}: {plan.verdict}")
    held = len(PLANS) - len(wrong)
    detail = f"{held} of {len(PLANS)} cases, {min(chosen)} to {max(chosen)} servers; " + "; ".join(wrong)
    return Outcome(held, not wrong and len(PLANS) >= 20, detail.rstrip("; "))


def _holds(plan: mm1_planner.Plan, rate: float, service: str) -> bool:
    def value(servers: int) -> float:
        run = mm1_planner.simulate(
            arrival_rate_per_s=rate, service=service, servers=servers, customers=500_000, seed=32
        )
        return run.estimates[plan.metric].value

    assert plan.servers is not None
    # No servers at all keep no promise.
    return value(plan.servers) < plan.limit_s and (
        plan.servers == 1 or value(plan.servers - 1) >= plan.limit_s
    )
