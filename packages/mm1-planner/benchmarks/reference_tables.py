"""Tables of exact queues beside 40-digit references, with the relative errors.

    python packages/mm1-planner/benchmarks/reference_tables.py [--output reference_tables.json]

Erlang A, B and C, M/D/c, M/M/c/K, MMPP/M/1 and MMPP/M/c. The references are those of the tests (recursions,
sums over states, incomplete gammas, roots), and for M/D/c Spitzer's sum; they share nothing with the package.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import mpmath

from mm1_planner import MAPPH1, ErlangA, MAPMc, MDc, MMc, MMcK, Mmpp, erlang_b, erlang_phases, mmpp_map

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "models"))

from test_erlang_a import reference as reference_a
from test_map_m_c import CASES as SEVERAL
from test_map_m_c import mmpp_m_c
from test_matrix_analytic import mmpp_m_1, when
from test_reference_values import bisect, reference_b, reference_mmc, reference_mmck

mp = mpmath.mp.clone()
mp.dps = 40
P99 = mp.mpf(1) - mp.mpf("0.99")

Row = tuple[str, str, str, float, object]


def erlang_b_and_c() -> Iterator[Row]:
    for load, servers in ((0.5, 1), (8.0, 10), (990.0, 1000), (99_000.0, 100_000)):
        yield (
            "Erlang B",
            f"a={load:g} c={servers}",
            "blocked",
            erlang_b(load, servers),
            reference_b(mp.mpf(load), servers),
        )
    for load, servers in ((0.9, 1), (8.0, 10), (990.0, 1000), (9_900.0, 10_000)):
        answer = MMc(load, 1.0, servers).answer()
        waits, spare, tail = reference_mmc(load, 1.0, servers)
        case = f"a={load:g} c={servers}"
        yield "Erlang C", case, "waits", answer.wait_probability, waits
        yield "Erlang C", case, "mean wait", answer.mean_wait_s, waits / spare
        yield "Erlang C", case, "p99 wait", answer.p99_wait_s, max(mp.log(waits / P99) / spare, 0)
        yield "Erlang C", case, "p99 sojourn", answer.p99_sojourn_s, bisect(tail, P99)


def erlang_a() -> Iterator[Row]:
    for case in ((8.0, 3.0, 3, 0.5), (50.0, 1.0, 40, 2.0), (120.0, 1.0, 100, 10.0)):
        answer = ErlangA(*case).answer()
        gives_up, _, waits, wait_s, wait_tail, _ = reference_a(*case)
        name = "rate={:g} mu={:g} c={} patience={:g}".format(*case)
        yield "Erlang A", name, "give up", answer.blocking, gives_up
        yield "Erlang A", name, "waits", answer.wait_probability, waits
        yield "Erlang A", name, "mean wait", answer.mean_wait_s, wait_s
        yield "Erlang A", name, "p99 wait", answer.p99_wait_s, bisect(wait_tail, P99)


def spitzer(load: float, servers: int) -> object:
    """Mean wait of M/D/c in services: sum over n of E(Poisson(n a) - n c)^+ / n, over the rate."""
    rate, total, n = mp.mpf(load) * servers, mp.mpf(0), 0
    while True:
        n += 1
        mean, number = n * rate, n * servers + 1
        term, above = mp.exp(number * mp.log(mean) - mean - mp.loggamma(number + 1)), mp.mpf(0)
        while term * (number - n * servers) > mp.mpf(10) ** -24 * above:
            above += term * (number - n * servers)
            number += 1
            term *= mean / number
        total += above / n
        if above < mp.mpf(10) ** -22 * total:
            return total / rate


def constant_service() -> Iterator[Row]:
    for load, servers in ((0.5, 1), (0.8, 1), (0.7, 4), (0.8, 10), (0.9, 50)):
        found = MDc(load * servers, 1.0, servers).answer().mean_wait_s
        yield "M/D/c", f"load={load:g} c={servers}", "mean wait", found, spitzer(load, servers)


def limited_room() -> Iterator[Row]:
    for case in ((5.0, 8.0, 1, 4), (5.0, 3.0, 2, 10), (40.0, 3.0, 5, 12), (19.0, 1.0, 20, 45)):
        answer = MMcK(*case).answer()
        states, _, sojourn_tail = reference_mmck(*case)
        waiting = mp.fsum(max(n - case[2], 0) * state for n, state in enumerate(states))
        name = "rate={:g} mu={:g} c={} K={}".format(*case)
        yield "M/M/c/K", name, "blocked", answer.blocking, states[-1]
        yield "M/M/c/K", name, "mean wait", answer.mean_wait_s, waiting / (case[0] * (1 - states[-1]))
        yield "M/M/c/K", name, "p99 sojourn", answer.p99_sojourn_s, bisect(sojourn_tail, P99)


def bursts() -> Iterator[Row]:
    for arrivals, rate in (
        (Mmpp(0.2, 3.0, quiet_s=50.0, peak_s=10.0), 1.1),
        (Mmpp(9.0, 99.0, quiet_s=7.0, peak_s=0.1), 10.5),
        (Mmpp(0.9, 1.0, quiet_s=5.0, peak_s=5.0), 0.96),
    ):
        answer = MAPPH1(mmpp_map(arrivals), erlang_phases(1 / rate, 1)).answer()
        wait, sojourn = mmpp_m_1(arrivals, rate)
        states = (arrivals.quiet_per_s, arrivals.quiet_s, arrivals.peak_per_s, arrivals.peak_s, rate)
        name = "{:g}/s {:g} s, {:g}/s {:g} s, mu={:g}".format(*states)
        yield "MMPP/M/1", name, "mean wait", answer.mean_wait_s, sum(c / r for c, r in wait).real
        yield "MMPP/M/1", name, "p99 wait", answer.p99_wait_s, when(wait, P99)
        yield "MMPP/M/1", name, "p99.9 sojourn", answer.p999_sojourn_s, when(sojourn, P99 / 10)


def bursts_on_several() -> Iterator[Row]:
    for arrivals, rate, servers in SEVERAL:
        answer = MAPMc(mmpp_map(arrivals), rate, servers).answer()
        wait, sojourn = mmpp_m_c(arrivals, rate, servers)
        states = (arrivals.quiet_per_s, arrivals.quiet_s, arrivals.peak_per_s, arrivals.peak_s, rate, servers)
        name = "{:g}/s {:g} s, {:g}/s {:g} s, mu={:g} c={}".format(*states)
        yield "MMPP/M/c", name, "waits", answer.wait_probability, sum(c for c, _ in wait)
        yield "MMPP/M/c", name, "mean wait", answer.mean_wait_s, sum(c / r for c, r in wait)
        yield "MMPP/M/c", name, "p99 wait", answer.p99_wait_s, when(wait, P99)
        yield "MMPP/M/c", name, "p99.9 sojourn", answer.p999_sojourn_s, when(sojourn, P99 / 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--output", type=Path, help="JSON file for the result")
    arguments = parser.parse_args()
    rows, worst = [], 0.0
    for table in (erlang_b_and_c, erlang_a, constant_service, limited_room, bursts, bursts_on_several):
        for model, case, quantity, found, expected in table():
            error = float(abs(mp.mpf(found) - expected) / expected) if expected else abs(found)
            worst = max(worst, error)
            digits = mp.nstr(mp.mpf(expected), 17)
            rows.append([model, case, quantity, found, digits, error])
            print(f"{model:9s} {case:44s} {quantity:13s} {found:<24.16g} {digits:24s} {error:.1e}")
    start = time.perf_counter()
    MMc(9_900.0, 1.0, 10_000).answer()
    print(
        f"worst relative error {worst:.1e}; M/M/c with 10,000 servers in {time.perf_counter() - start:.4f} s"
    )
    if arguments.output:
        result = {
            "command": "python packages/mm1-planner/benchmarks/reference_tables.py",
            "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
            "python": platform.python_version(),
            "versions": {
                name: importlib.metadata.version(name) for name in ("mm1-planner", "mpmath", "numpy")
            },
            "worst": worst,
            "rows": rows,
        }
        arguments.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
