"""M/M/c+M against 40-digit sums over its states and quadrature."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfi_command import BadInput
from mm1_planner import LEVELS, ErlangA, MMc

mpmath = pytest.importorskip("mpmath", reason="the references are computed by mpmath")
mp = mpmath.mp.clone()
mp.dps = 40


def reference(rate: float, service_rate: float, servers: int, patience_s: float):
    """Balance equations state by state; the wait's tail by incomplete gammas, the stay's by quadrature."""
    rate, service_rate, leave = mp.mpf(rate), mp.mpf(service_rate), 1 / mp.mpf(patience_s)
    states = [mp.mpf(1)]
    while len(states) < servers + 20 or states[-1] > mp.mpf(10) ** -45 * max(states):
        n = len(states)
        death = min(n, servers) * service_rate + max(n - servers, 0) * leave
        states.append(states[-1] * rate / death)
    total = mp.fsum(states)
    queue = [state / total for state in states[servers:]]
    clock = servers * service_rate
    reached = [share * clock / (clock + (k + 1) * leave) for k, share in enumerate(queue)]
    served = mp.fsum(states[:servers]) / total + mp.fsum(reached)
    stages = mp.mpf(0)
    waited = mp.mpf(0)
    for k, share in enumerate(reached):
        stages += 1 / (clock + (k + 1) * leave)
        waited += share * stages
    waits = mp.fsum(reached) / served
    s, z = clock / leave + 1, rate / leave
    whole = mp.gammainc(s, 0, z)

    def wait_tail(t):
        return waits * mp.gammainc(s, 0, z * mp.exp(-leave * t)) / whole

    def sojourn_tail(t):
        def ends(x):
            y = z * mp.exp(-leave * x)
            return waits * leave * y**s * mp.exp(-y) / whole * mp.exp(-service_rate * (t - x))

        return (1 - waits) * mp.exp(-service_rate * t) + wait_tail(t) + mp.quad(ends, mp.linspace(0, t, 9))

    gives_up = 1 - served
    in_queue = mp.fsum(k * share for k, share in enumerate(queue))
    return gives_up, in_queue, waits, waited / served, wait_tail, sojourn_tail


@pytest.mark.parametrize(
    "case",
    [
        (1.0, 1.0, 1, 1.0),
        (8.0, 3.0, 3, 0.5),
        (50.0, 1.0, 40, 2.0),
        (9.0, 1.0, 10, 100.0),
        (120.0, 1.0, 100, 10.0),
        (0.5, 1.0, 2, 5.0),
        (600.0, 1.0, 100, 1.0),
    ],
)
def test_means_and_tails(case) -> None:
    model = ErlangA(*case)
    answer = model.answer()
    gives_up, in_queue, waits, wait_s, wait_tail, sojourn_tail = reference(*case)
    pairs = {
        "blocking": gives_up,
        "mean_in_queue": in_queue,
        "wait_probability": waits,
        "mean_wait_s": wait_s,
        "mean_sojourn_s": wait_s + 1 / mp.mpf(case[1]),
    }
    for name, expected in pairs.items():
        assert abs(mp.mpf(getattr(answer, name)) / expected - 1) < 1e-9, name
    for level in LEVELS:
        exceeding = 1 - mp.mpf(str(LEVELS[level]))
        wait, sojourn = getattr(answer, f"{level}_wait_s"), getattr(answer, f"{level}_sojourn_s")
        if wait == 0:
            assert waits <= exceeding
        else:
            assert abs(wait_tail(mp.mpf(wait)) / exceeding - 1) < 1e-9, level
        assert abs(sojourn_tail(mp.mpf(sojourn)) / exceeding - 1) < 1e-9, level


@given(
    load=st.floats(0.05, 3.0),
    servers=st.integers(1, 400),
    service_rate=st.floats(1e-3, 1e3),
    patience=st.floats(1e-3, 1e4),
)
def test_flows_balance_at_any_load(load: float, servers: int, service_rate: float, patience: float) -> None:
    rate = load * servers * service_rate
    answer = ErlangA(rate, service_rate, servers, patience / service_rate).answer()
    # What arrives leaves, served or not; both flows are computed from different sums.
    served = answer.utilization * servers * service_rate
    assert served + rate * answer.blocking == pytest.approx(rate, rel=1e-9)
    assert 0 <= answer.blocking < 1
    assert 0 <= answer.utilization <= 1 + 1e-12
    for what in ("wait", "sojourn"):
        times = [getattr(answer, f"{level}_{what}_s") for level in LEVELS]
        assert times == sorted(times)
        assert times[0] >= 0


def test_endless_patience_is_mmc() -> None:
    patient, plain = ErlangA(9.0, 1.0, 10, 1e9).answer(), MMc(9.0, 1.0, 10).answer()
    for name in ("mean_wait_s", "p99_wait_s", "p999_sojourn_s", "mean_in_queue"):
        assert getattr(patient, name) == pytest.approx(getattr(plain, name), rel=1e-5), name
    assert patient.blocking < 1e-8


def test_hopeless_overload_stays_finite_and_quick() -> None:
    answer = ErlangA(2e5, 1.0, 100_000, 1e4).answer()
    assert answer.blocking == pytest.approx(0.5, rel=1e-9)
    # Fluid limit: those served waited log(2) patiences.
    assert answer.p50_wait_s == pytest.approx(1e4 * math.log(2), rel=1e-6)


@pytest.mark.parametrize("patience", [0.0, -1.0, math.nan, math.inf])
def test_absurd_patience_is_refused(patience: float) -> None:
    with pytest.raises(BadInput, match="patience"):
        ErlangA(1.0, 1.0, 1, patience)
