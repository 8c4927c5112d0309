"""Customers a second: the compiled engine beside simpy, Ciw, salabim and cimba, taken in turns.

    uv run --isolated --package mm1-planner --group bench --with cimba \\
        packages/mm1-planner/benchmarks/speed.py

M/M/1 and M/M/16 at a load of 0.8 on the same draws (the peers but simpy draw their own, and so does
`stream`, the streamed engine with its counting). A peer that is not installed is left out and said so. A
round times each engine once, in turns; the result is the median ratio over the rounds, with its smallest and
largest.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

if importlib.util.find_spec("cimba"):
    import peer_cimba  # before anything is compiled, or it cannot compile its own

from mm1_planner import draw, parse_service, simulate
from mm1_planner.engine.fast import simulate_fast
from mm1_planner.engine.reference import simulate_with_simpy

FAST, SLOW = 2_000_000, 20_000
STREAMED = 20_000_041
LOAD = 0.8


def ciw_run(servers: int, customers: int) -> None:
    import ciw

    rate = LOAD * servers
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(rate=rate)],
        service_distributions=[ciw.dists.Exponential(rate=1.0)],
        number_of_servers=[servers],
    )
    ciw.Simulation(network).simulate_until_max_customers(customers, method="Finish")


def salabim_run(servers: int, customers: int) -> None:
    import random

    import salabim

    salabim.yieldless(False)
    clock = salabim.Environment(trace=False, random_seed=0)
    desks = salabim.Resource("desks", capacity=servers)

    class Customer(salabim.Component):
        def process(self) -> Iterator[object]:
            yield self.request(desks)
            yield self.hold(random.expovariate(1.0))
            self.release(desks)

    class Street(salabim.Component):
        def process(self) -> Iterator[object]:
            for _ in range(customers):
                Customer()
                yield self.hold(random.expovariate(LOAD * servers))

    Street()
    clock.run()


def stream(servers: int, customers: int) -> None:
    simulate(arrival_rate_per_s=LOAD * servers, service="exp:1", servers=servers, customers=customers)


def per_second(function: Callable[[], object], customers: int) -> float:
    start = time.perf_counter()
    function()
    return customers / (time.perf_counter() - start)


def compare(servers: int, rounds: int) -> dict[str, object]:
    gaps, services = draw(LOAD * servers, parse_service("exp:1"), FAST, seed=0)
    engines: dict[str, tuple[Callable[[], object], int]] = {
        "fast": (lambda: simulate_fast(gaps, services, servers), FAST),
        "simpy": (lambda: simulate_with_simpy(gaps[:SLOW], services[:SLOW], servers), SLOW),
    }
    for name, function, length in (("ciw", ciw_run, SLOW), ("salabim", salabim_run, SLOW // 4)):
        if importlib.util.find_spec(name):
            engines[name] = (partial(function, servers, length), length)
    engines["stream"] = (lambda: stream(servers, STREAMED), STREAMED)
    stream(servers, STREAMED)
    if importlib.util.find_spec("cimba"):
        peer_cimba.run(servers, 1000)
        engines["cimba"] = (lambda: peer_cimba.run(servers, FAST // 4), FAST // 4)
    simulate_fast(gaps[:10], services[:10], servers)
    speeds: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(rounds):
        for name, (function, customers) in engines.items():
            speeds[name].append(per_second(function, customers))
    found: dict[str, object] = {"servers": servers}
    for name, values in speeds.items():
        found[f"{name}_customers_per_s"] = round(statistics.median(values))
        if name != "fast":
            ratios = sorted(fast / slow for fast, slow in zip(speeds["fast"], values, strict=True))
            found[f"times_{name}"] = [
                round(each, 1) for each in (ratios[0], statistics.median(ratios), ratios[-1])
            ]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, help="JSON file for the result")
    arguments = parser.parse_args()
    names = ("numba", "numpy", "simpy", "ciw", "salabim", "cimba")
    result = {
        "command": "python packages/mm1-planner/benchmarks/speed.py",
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {
            name: importlib.metadata.version(name) if importlib.util.find_spec(name) else "not installed"
            for name in names
        },
        "load_average": os.getloadavg()[0],
        "rounds": arguments.rounds,
        "runs": [compare(servers, arguments.rounds) for servers in (1, 16)],
    }
    text = json.dumps(result, indent=1) + "\n"
    print(text)
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
