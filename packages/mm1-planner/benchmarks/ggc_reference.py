"""Long simulations of G/G/c, by which the approximation is chosen (one set) and judged (another).

    python packages/mm1-planner/benchmarks/ggc_reference.py choosing [--minutes 10]
    python packages/mm1-planner/benchmarks/ggc_reference.py judging [--minutes 10]
    python packages/mm1-planner/benchmarks/ggc_reference.py confirming [--minutes 10]

Scenarios are drawn by number. The choosing set has powers of two of servers, six loads and six squared
coefficients of variation, gamma and lognormal laws. The judging set, of another seed, has other numbers of
servers, any load from 0.5 to 0.95 and any scv from 0 to 4, and Weibull, two-rate and uniform laws too. Every
fourth scenario of both is a corner of the box. One JSON file a set; a scenario it holds is not run again (the
first 165 of the choosing set are from automatic runs of up to 1.5e7 customers).
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import math
import platform
import time
from pathlib import Path

import numpy as np

from mm1_planner import simulate
from mm1_planner.arrivals import Renewal
from mm1_planner.service import Constant, Empirical, Gamma, Lognormal, Service

RESULTS = Path(__file__).parent / "results"
SCENARIOS = 240
SCVS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
SERVERS = (1, 2, 4, 8, 16, 32, 64)
OTHER_SERVERS = (1, 2, 3, 5, 6, 10, 12, 20, 24, 40, 48, 64)
LOADS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
SEEDS = {"choosing": 2, "judging": 20261129, "confirming": 20261130}
CUSTOMERS = {False: 6_000_000, True: 20_000_100}
"""Of a run, and of one at a load above 0.85, where long waits come in long clusters."""
_BUSY = 0.85
_POINTS = 4000


def law(kind: str, mean_s: float, scv: float) -> Service:
    """A law by its name; those without a class of their own as equally likely quantiles of the true one."""
    if scv == 0:
        return Constant(mean_s)
    if kind in ("gamma", "lognormal"):
        return (Gamma if kind == "gamma" else Lognormal)(mean_s, math.sqrt(scv))
    levels = (np.arange(_POINTS) + 0.5) / _POINTS
    times = {"weibull": _weibull, "two-rate": _two_rates, "uniform": _uniform}[kind](levels, scv)
    return Empirical(times * mean_s / times.mean(), kind)


def _weibull(levels: np.ndarray, scv: float) -> np.ndarray:
    from scipy.optimize import brentq
    from scipy.special import gamma

    shape = brentq(lambda k: gamma(1 + 2 / k) / gamma(1 + 1 / k) ** 2 - 1 - scv, 0.3, 60)
    return np.asarray((-np.log1p(-levels)) ** (1 / shape))


def _two_rates(levels: np.ndarray, scv: float) -> np.ndarray:
    """Two exponentials that share the mean (scv above 1), or a constant with an exponential added."""
    if scv <= 1:
        return np.asarray(1 - math.sqrt(scv) - math.sqrt(scv) * np.log1p(-levels))
    share = (1 + math.sqrt((scv - 1) / (scv + 1))) / 2
    times = np.geomspace(1e-6, 200, 40_000)
    below = 1 - share * np.exp(-2 * share * times) - (1 - share) * np.exp(-2 * (1 - share) * times)
    return np.asarray(np.interp(levels, below, times))


def _uniform(levels: np.ndarray, scv: float) -> np.ndarray:
    """Uniform about the mean up to scv 1/3; beyond, uniform down to 0 and a share that is long."""
    if scv <= 1 / 3:
        return np.asarray(1 + math.sqrt(3 * scv) * (2 * levels - 1))
    return _weibull(levels, scv)


def scenario(number: int, which: str) -> dict[str, object]:
    judging = which != "choosing"
    rng = np.random.default_rng([number, SEEDS[which]] if judging else number)
    corner = number % 4 == 0

    def pick(values: tuple[float, ...]) -> float:
        if corner:
            return values[rng.integers(0, 2) * (len(values) - 1)]
        return round(float(rng.uniform(values[0], values[-1])), 3) if judging else float(rng.choice(values))

    laws = ["gamma", "lognormal", "weibull", "two-rate", "uniform"] if judging else ["gamma", "lognormal"]
    return {
        "number": number,
        "servers": int(rng.choice(OTHER_SERVERS if judging else SERVERS)),
        "load": float(pick(LOADS)),
        "arrival_scv": float(pick(SCVS)),
        "service_scv": float(pick(SCVS)),
        "arrival_law": str(rng.choice(laws)),
        "service_law": str(rng.choice(laws)),
    }


def reference(wanted: dict[str, object], seed: int) -> dict[str, object]:
    servers, load = int(wanted["servers"]), float(wanted["load"])
    gap = law(str(wanted["arrival_law"]), 1 / (load * servers), float(wanted["arrival_scv"]))
    run = simulate(
        arrival_rate_per_s=load * servers,
        service=law(str(wanted["service_law"]), 1.0, float(wanted["service_scv"])),
        servers=servers,
        arrivals=Renewal(gap),
        customers=CUSTOMERS[load > _BUSY],
        seed=seed,
        scenario=int(wanted["number"]),
    )
    times = {
        name: [estimate.value, *estimate.interval()]
        for name, estimate in run.estimates.items()
        if name in ("mean_wait_s", "p99_wait_s", "p999_wait_s", "mean_sojourn_s", "p99_sojourn_s")
    }
    return wanted | {"customers": run.customers} | times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("which", choices=SEEDS)
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after so long; run again to go on")
    parser.add_argument("--output", type=Path, help="default: results/ggc_WHICH.json")
    arguments = parser.parse_args()
    output = arguments.output or RESULTS / f"ggc_{arguments.which}.json"
    kept = json.loads(output.read_text(encoding="utf-8"))["cells"] if output.exists() else []
    done, begin = {found["number"] for found in kept}, time.monotonic()
    common = {
        "command": f"python packages/mm1-planner/benchmarks/ggc_reference.py {arguments.which}",
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in ("mm1-planner", "numba", "numpy")},
        "seed": SEEDS[arguments.which],
    }
    for number in range(SCENARIOS):
        wanted = scenario(number, arguments.which)
        # Equal gaps and equal services never wait.
        waits = float(wanted["arrival_scv"]) + float(wanted["service_scv"]) > 0
        if time.monotonic() - begin > 60 * arguments.minutes:
            print(f"{len(kept)} cells; run again to go on")
            return
        if number not in done and waits:
            kept.append(reference(wanted, SEEDS[arguments.which]))
            lines = ",\n".join(json.dumps(found) for found in kept)
            head = json.dumps(common, indent=1)[:-2]
            output.write_text(f'{head},\n "cells": [\n{lines}\n]\n}}\n', encoding="utf-8")
    print(f"{len(kept)} cells, complete")


if __name__ == "__main__":
    main()
