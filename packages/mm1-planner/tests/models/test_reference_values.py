"""Every exact formula against 40-digit arithmetic that shares nothing with it but the definition."""

from __future__ import annotations

import pytest

from mm1_planner import LEVELS, METRICS, MM1, MMc, MMcK, erlang_b, erlang_c

mpmath = pytest.importorskip("mpmath", reason="the references are computed by mpmath")
mp = mpmath.mp.clone()
mp.dps = 40
TOLERANCE = 1e-9


def close(value: float, reference, tolerance: float = TOLERANCE) -> bool:
    if reference == 0:
        return value == 0
    return abs(mp.mpf(value) / reference - 1) < tolerance


def reference_b(load, servers: int):
    """Erlang B by its recursion in the number of servers, from the side the code does not use."""
    blocked = mp.mpf(1)
    for n in range(1, servers + 1):
        blocked = load * blocked / (n + load * blocked)
    return blocked


def reference_mmc(rate: float, service_rate: float, servers: int):
    """Erlang C, spare capacity and the sojourn's tail by the textbook's (cancelling) formula."""
    rate, service_rate = mp.mpf(rate), mp.mpf(service_rate)
    blocked = reference_b(rate / service_rate, servers)
    load = rate / (servers * service_rate)
    waits = blocked / (1 - load * (1 - blocked))
    spare = servers * service_rate - rate

    def tail(t):
        if spare == service_rate:
            return mp.exp(-service_rate * t) * (1 + waits * service_rate * t)
        mixed = spare * mp.exp(-service_rate * t) - service_rate * mp.exp(-spare * t)
        return (1 - waits) * mp.exp(-service_rate * t) + waits * mixed / (spare - service_rate)

    return waits, spare, tail


def bisect(tail, exceeding):
    low, high = mp.mpf(0), mp.mpf(1)
    while tail(high) > exceeding:
        high *= 2
    for _ in range(140):
        middle = (low + high) / 2
        low, high = (middle, high) if tail(middle) > exceeding else (low, middle)
    return high


LOADS = [
    (0.04, 1.0, 1),
    (5.0, 8.0, 1),
    (0.98, 1.0, 1),
    (0.9999999, 1.0, 1),
    (1.5, 1.0, 2),
    (8.0, 3.0, 3),
    (29.9999999, 0.1, 300),  # the float product 300 * 0.1 has lost what is left
    (0.999999999999, 1.0, 1),
    (2.0, 1.0, 3),  # c mu - lambda = mu
    (2.0000000001, 1.0, 3),  # almost
    (63.0, 0.1, 640),
    (9.9, 0.001, 10_000),
    (0.3, 1.7, 50),
]


@pytest.mark.parametrize(("rate", "service_rate", "servers"), LOADS)
def test_mmc_means_and_percentiles(rate: float, service_rate: float, servers: int) -> None:
    answer = MMc(rate, service_rate, servers).answer()
    waits, spare, tail = reference_mmc(rate, service_rate, servers)
    wait, service = waits / spare, 1 / mp.mpf(service_rate)
    assert close(answer.wait_probability, waits)
    assert close(answer.mean_wait_s, wait)
    assert close(answer.mean_sojourn_s, wait + service)
    assert close(answer.mean_in_queue, wait * mp.mpf(rate))
    assert close(answer.mean_in_system, (wait + service) * mp.mpf(rate))
    for name, level in LEVELS.items():
        exceeding = 1 - mp.mpf(str(level))
        expected = mp.log(waits / exceeding) / spare if waits > exceeding else mp.mpf(0)
        assert close(getattr(answer, f"{name}_wait_s"), expected), name
        assert close(getattr(answer, f"{name}_sojourn_s"), bisect(tail, exceeding)), name


@pytest.mark.parametrize(("rate", "service_rate"), [(5.0, 8.0), (0.98, 1.0), (0.9999999, 1.0), (1e-6, 3.0)])
def test_mm1_means_and_percentiles(rate: float, service_rate: float) -> None:
    answer = MM1(rate, service_rate).answer()
    spare, load = mp.mpf(service_rate) - mp.mpf(rate), mp.mpf(rate) / mp.mpf(service_rate)
    assert close(answer.mean_in_system, load / (1 - load))
    assert close(answer.mean_in_queue, load**2 / (1 - load))
    assert close(answer.mean_sojourn_s, 1 / spare)
    assert close(answer.mean_wait_s, load / spare)
    for name, level in LEVELS.items():
        exceeding = 1 - mp.mpf(str(level))
        assert close(getattr(answer, f"{name}_sojourn_s"), -mp.log(exceeding) / spare)
        expected = mp.log(load / exceeding) / spare if load > exceeding else mp.mpf(0)
        assert close(getattr(answer, f"{name}_wait_s"), expected)


@pytest.mark.parametrize(
    ("load", "servers"),
    [
        (0.001, 1),
        (0.5, 3),
        (10.0, 10),
        (1e4, 10),
        (3.0, 200),
        (999.0, 1000),
        (1e5, 100_000),
        (99_000.0, 100_000),
    ],
)
def test_erlang_b_and_c(load: float, servers: int) -> None:
    blocked = reference_b(mp.mpf(load), servers)
    assert close(erlang_b(load, servers), blocked)
    if load < servers:
        waits, *_ = reference_mmc(load, 1.0, servers)
        assert close(erlang_c(load, servers), waits)
    else:
        assert erlang_c(load, servers) == 1.0


def reference_mmck(rate: float, service_rate: float, servers: int, capacity: int):
    """States from the balance equations; tails by the closed form of Erlang plus exponential times."""
    rate, service_rate = mp.mpf(rate), mp.mpf(service_rate)
    states = [mp.mpf(1)]
    for n in range(1, capacity + 1):
        states.append(states[-1] * rate / (min(n, servers) * service_rate))
    total = mp.fsum(states)
    states = [state / total for state in states]
    seen = [state / (1 - states[-1]) for state in states[:-1]]
    clock = servers * service_rate

    def wait_tail(t):
        return mp.fsum(
            seen[n] * mp.gammainc(n - servers + 1, clock * t, regularized=True)
            for n in range(servers, capacity)
        )

    def stay(k: int, t):
        if servers == 1:
            return mp.gammainc(k + 1, clock * t, regularized=True)
        fast = clock - service_rate
        below = mp.gammainc(k, 0, fast * t, regularized=True)
        return (
            mp.gammainc(k, clock * t, regularized=True)
            + mp.exp(-service_rate * t) * (clock / fast) ** k * below
        )

    def sojourn_tail(t):
        direct = mp.fsum(seen[:servers]) * mp.exp(-service_rate * t)
        return direct + mp.fsum(seen[n] * stay(n - servers + 1, t) for n in range(servers, capacity))

    return states, wait_tail, sojourn_tail


@pytest.mark.parametrize(
    ("rate", "service_rate", "servers", "capacity"),
    [
        (5.0, 8.0, 1, 4),
        (1.0, 1.0, 1, 1),
        (5.0, 3.0, 2, 10),
        (40.0, 3.0, 5, 12),
        (3.0, 1.0, 8, 8),
        (19.0, 1.0, 20, 45),
    ],
)
def test_mmck(rate: float, service_rate: float, servers: int, capacity: int) -> None:
    model = MMcK(rate, service_rate, servers, capacity)
    answer = model.answer()
    states, wait_tail, sojourn_tail = reference_mmck(rate, service_rate, servers, capacity)
    let_in = mp.mpf(rate) * (1 - states[-1])
    in_system = mp.fsum(n * state for n, state in enumerate(states))
    in_queue = mp.fsum(max(n - servers, 0) * state for n, state in enumerate(states))
    assert close(answer.blocking, states[-1])
    assert close(answer.mean_in_system, in_system)
    assert close(answer.mean_in_queue, in_queue)
    assert close(answer.mean_sojourn_s, in_system / let_in)
    assert close(answer.mean_wait_s, in_queue / let_in)
    assert close(answer.utilization, let_in / (servers * mp.mpf(service_rate)))
    for t in (0.01, 0.3, 1.0, 2.5):
        assert close(model.sojourn_tail(t), sojourn_tail(mp.mpf(t)))
        assert close(model.wait_tail(t), wait_tail(mp.mpf(t)))
    for level in ("p90", "p99"):
        exceeding = 1 - mp.mpf(str(LEVELS[level]))
        expected = bisect(wait_tail, exceeding) if wait_tail(mp.mpf(0)) > exceeding else mp.mpf(0)
        assert close(getattr(answer, f"{level}_wait_s"), expected)
        assert close(getattr(answer, f"{level}_sojourn_s"), bisect(sojourn_tail, exceeding))


def test_every_metric_was_compared() -> None:
    assert len(METRICS) == 4 + 2 * len(LEVELS)
