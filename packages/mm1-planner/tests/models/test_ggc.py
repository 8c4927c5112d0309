"""GI/G/c against what is exact, against simulation where it is declared, and its refusals elsewhere."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mfi_command import BadInput
from mm1_planner import (
    MG1,
    Constant,
    Empirical,
    Exponential,
    Gamma,
    GGc,
    GIMc,
    Lognormal,
    MDc,
    MMc,
    Renewal,
    simulate,
    solve,
)
from mm1_planner.models.excess import excess, on_lattice

LAWS = [Constant(2.0), Exponential(2.0), Gamma(2.0, 0.6), Gamma(2.0, 2.0), Lognormal(2.0, 1.3)]


@pytest.mark.parametrize("law", [*LAWS, Empirical(np.array([0.5, 1.0, 4.5]))], ids=lambda law: law.name)
def test_excess_is_the_mean_of_what_is_left(law) -> None:
    draws = law.quantile((np.arange(400_000) + 0.5) / 400_000)
    for time_s in (0.0, 0.7, 2.0, 5.0):
        expected = np.maximum(draws - time_s, 0).mean()
        assert excess(law, np.array([time_s]))[0] == pytest.approx(expected, abs=2e-3 * law.mean_s)
    lattice = on_lattice(law, 0.01, 1 << 15)
    assert lattice @ np.arange(1 << 15) * 0.01 == pytest.approx(law.mean_s, rel=1e-5)


@pytest.mark.parametrize("service", [Constant(1.0), Gamma(1.0, 2.0), Lognormal(1.0, 1.5)])
@pytest.mark.parametrize("load", [0.5, 0.95])
def test_one_server_with_poisson_arrivals(service, load: float) -> None:
    found = GGc(Exponential(1 / load), service)
    exact = MDc(load, 1.0, 1) if isinstance(service, Constant) else MG1(load, service)
    answer = exact.answer()
    assert found.mean_wait_s == pytest.approx(answer.mean_wait_s, rel=0.005)
    for level in (0.9, 0.99):
        expected = exact.wait_percentile(level)
        # The lattice is cut 30 deviations out, where a lognormal law still has something.
        assert found.wait_percentile(level) == pytest.approx(expected, rel=0.02, abs=0.01), level
    assert found.answer().mean_sojourn_s == pytest.approx(answer.mean_sojourn_s, rel=0.005)
    assert found.declared


@pytest.mark.parametrize("gap", [Constant(1.0), Gamma(1.0, 1.7), Lognormal(1.0, 1.0)])
def test_one_server_with_exponential_service_is_takacs(gap) -> None:
    service = Exponential(0.8)
    found, exact = GGc(gap, service), GIMc(gap, 1 / 0.8, 1)
    assert found.mean_wait_s == pytest.approx(exact.mean_wait_s, rel=0.005)
    assert found.wait_probability == pytest.approx(exact.sigma, rel=0.02)
    assert exact.wait_probability == pytest.approx(exact.sigma, rel=1e-9)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.3), (2, 0.5), (8, 0.5), (16, 0.9), (64, 0.95)])
def test_poisson_gaps_make_takacs_erlang(servers: int, load: float) -> None:
    exact = MMc(load * servers, 1.0, servers).answer()
    found = GIMc(Exponential(1 / (load * servers)), 1.0, servers)
    assert found.wait_probability == pytest.approx(exact.wait_probability, rel=1e-6)
    assert found.mean_wait_s == pytest.approx(exact.mean_wait_s, rel=1e-6)


@pytest.mark.parametrize("service", [Constant(1.0), Exponential(1.0)])
def test_several_servers_keep_their_exact_ends(service) -> None:
    exact = (MDc(9.0, 1.0, 10) if service.scv == 0 else MMc(9.0, 1.0, 10)).answer()
    found = GGc(Exponential(1 / 9), service, 10)
    assert found.mean_wait_s == pytest.approx(exact.mean_wait_s, rel=0.01)
    assert found.wait_percentile(0.99) == pytest.approx(exact.p99_wait_s, rel=0.05)


@pytest.mark.parametrize(
    ("gap", "service", "servers"),
    [
        (Gamma(1 / 3.4, 1.5), Gamma(1.0, 0.4), 4),
        (Gamma(1 / 14.4, 0.7), Lognormal(1.0, 0.8), 16),
        (Exponential(1 / 28), Lognormal(1.0, 2.0), 32),
        (Lognormal(1 / 6.8, 2.0), Gamma(1.0, 2.0), 8),
    ],
)
def test_declared_errors_hold(gap, service, servers: int) -> None:
    queue = GGc(gap, service, servers)
    assert queue.declared
    run = simulate(
        arrival_rate_per_s=1 / gap.mean_s,
        service=service,
        servers=servers,
        arrivals=Renewal(gap),
        customers=400_000,
        seed=6,
    )
    for name, value, share in (
        ("mean_wait_s", queue.mean_wait_s, 0.10),
        ("p99_wait_s", queue.wait_percentile(0.99), 0.15),
    ):
        low, high = run.estimates[name].interval(0.999)
        assert low * (1 - share) <= value <= high * (1 + share), name


def test_outside_its_range_it_says_to_simulate() -> None:
    rare = GGc(Exponential(1 / 32), Gamma(1.0, 0.7), 64)
    for queue in (
        rare,
        GGc(Constant(1 / 4.8), Gamma(1.0, 0.5), 8),
        GGc(Exponential(1 / 900), Gamma(1.0, 0.5), 1000),
        GGc(Exponential(1 / 7.95), Gamma(1.0, 0.5), 8),
        GGc(Gamma(1.0, 3.0), Gamma(0.9, 0.5)),
    ):
        assert not queue.declared
        assert "simulate" in queue.answer().method
    verdict = solve(arrival_rate_per_s=32, service="gamma:1:0.7", servers=64, customers=50_000).verdict
    assert "take the simulated numbers" in verdict


def test_overload_and_the_idle_clockwork() -> None:
    answer = GGc(Constant(0.5), Exponential(1.0)).answer()
    assert not answer.stable
    assert answer.utilization == 2.0
    assert answer.p99_wait_s == math.inf
    assert GGc(Constant(1.25), Constant(1.0), 1).mean_wait_s == 0
    with pytest.raises(BadInput):
        GGc(Exponential(1.0), Exponential(0.5), 0)
