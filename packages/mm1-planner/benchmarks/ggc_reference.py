"""Long simulations of G/G/c, against which `ggc_study.py` judges the approximation.

    python packages/mm1-planner/benchmarks/ggc_reference.py --output ggc_reference.json [--scenarios 240]

Scenarios are drawn by number: servers 1 to 64, load 0.5 to 0.95, squared coefficients of variation 0 to 4 of
gaps and services, each gamma or lognormal; every fourth is a corner of that box. A scenario that the file
already holds is not run again.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np

from mm1_planner import simulate
from mm1_planner.arrivals import Renewal
from mm1_planner.service import Constant, Gamma, Lognormal, Service

SCVS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
SERVERS = (1, 2, 4, 8, 16, 32, 64)
LOADS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def law(kind: str, mean_s: float, scv: float) -> Service:
    if scv == 0:
        return Constant(mean_s)
    return (Gamma if kind == "gamma" else Lognormal)(mean_s, math.sqrt(scv))


def scenario(number: int) -> dict[str, object]:
    rng = np.random.default_rng(number)
    corner = number % 4 == 0
    pick = (lambda values: values[rng.integers(0, 2) * (len(values) - 1)]) if corner else rng.choice
    return {
        "number": number,
        "servers": int(rng.choice(SERVERS)),
        "load": float(pick(LOADS)),
        "arrival_scv": float(pick(SCVS)),
        "service_scv": float(pick(SCVS)),
        "arrival_law": str(rng.choice(["gamma", "lognormal"])),
        "service_law": str(rng.choice(["gamma", "lognormal"])),
    }


def reference(wanted: dict[str, object], most: int) -> dict[str, object]:
    servers, load = int(wanted["servers"]), float(wanted["load"])
    gap = law(str(wanted["arrival_law"]), 1 / (load * servers), float(wanted["arrival_scv"]))
    run = simulate(
        arrival_rate_per_s=load * servers,
        service=law(str(wanted["service_law"]), 1.0, float(wanted["service_scv"])),
        servers=servers,
        arrivals=Renewal(gap),
        most_customers=most,
        precision=0.005,
        seed=2,
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
    parser.add_argument("--scenarios", type=int, default=240)
    parser.add_argument("--most-customers", type=int, default=15_000_000)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    kept: list[dict[str, object]] = []
    if arguments.output.exists():
        kept = json.loads(arguments.output.read_text(encoding="utf-8"))
    done = {found["number"] for found in kept}
    for number in range(arguments.scenarios):
        wanted = scenario(number)
        # Equal gaps and equal services never wait.
        waits = float(wanted["arrival_scv"]) + float(wanted["service_scv"]) > 0
        if number not in done and waits:
            kept.append(reference(wanted, arguments.most_customers))
            lines = ",\n".join(json.dumps(found) for found in kept)
            arguments.output.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
