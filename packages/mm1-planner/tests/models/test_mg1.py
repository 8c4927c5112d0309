"""M/G/1 percentiles against mpmath's inversions in 40 digits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm1_planner import LEVELS, METRICS, MG1, MM1, Constant, Empirical, Exponential, Gamma, Lognormal, MDc
from mm1_planner.models.inversion import invert

mpmath = pytest.importorskip("mpmath", reason="the references are computed by mpmath")
mp = mpmath.mp.clone()
mp.dps = 40


def transform_of(law):
    if isinstance(law, Gamma):
        shape, scale = 1 / mp.mpf(law.scv), mp.mpf(law.scv) * mp.mpf(law.mean_s)
        return lambda s: (1 + scale * s) ** -shape
    sigma = mp.sqrt(mp.log(1 + mp.mpf(law.cv) ** 2))
    location = mp.log(mp.mpf(law.mean_s)) - sigma**2 / 2

    def lognormal(s):
        # Along the law itself, not along a turned ray: finer steps instead.
        step = mp.mpf(1) / 200
        nodes = (step * j for j in range(-1900, 1901))
        return (
            step
            / mp.sqrt(2 * mp.pi)
            * mp.fsum(mp.exp(-(u**2) / 2 - s * mp.exp(location + sigma * u)) for u in nodes)
        )

    return lognormal


@pytest.mark.parametrize("cv", [0.25, 0.5, 2.0, 4.0])
@pytest.mark.parametrize("load", [0.5, 0.95])
def test_gamma_service(cv: float, load: float) -> None:
    law = Gamma(1.0, cv)
    answer, service, rho = MG1(load, law).answer(), transform_of(law), mp.mpf(load)

    def wait(s):
        return (1 - rho) * s / (s - rho * (1 - service(s)))

    for name in ("p50", "p99", "p999"):
        exceeding = 1 - mp.mpf(str(LEVELS[name]))
        for what, transform in (("wait", wait), ("sojourn", lambda s: wait(s) * service(s))):
            time_s = getattr(answer, f"{name}_{what}_s")
            if time_s:
                tail = mp.invertlaplace(lambda s, f=transform: (1 - f(s)) / s, time_s, method="talbot")
                assert abs(tail / exceeding - 1) < 1e-9, (name, what)


@pytest.mark.parametrize("law", [Lognormal(1.0, 2.0), Lognormal(1.0, 0.3), Lognormal(3.0, 8.0)])
def test_the_transform_of_a_lognormal_law(law: Lognormal) -> None:
    exact = transform_of(law)
    for s in (0.001 + 0.001j, 0.3, 2 + 40j, 5 + 150j):
        expected = 1 - (1 - exact(mp.mpc(s))) / (mp.mpc(s) * law.mean_s)
        found = law.residual_deficit(np.array([s], dtype=complex))[0]
        # The reference's own steps no longer resolve e^{-sS} where S is large and s far out.
        assert abs(mp.mpc(complex(found)) / expected - 1) < 1e-10


@pytest.mark.parametrize("load", [0.3, 0.9, 0.9999])
def test_exponential_service_is_mm1(load: float) -> None:
    for law in (Exponential(1.0), Gamma(1.0, 1.0)):
        general, exact = MG1(load, law).answer(), MM1(load, 1.0).answer()
        for metric in METRICS:
            assert getattr(general, metric) == pytest.approx(getattr(exact, metric), rel=1e-9), metric


def test_measured_times_are_the_law_of_those_times() -> None:
    times = np.random.default_rng(5).gamma(2.0, 0.5, 1000)
    measured = MG1(0.8 / times.mean(), Empirical(times)).answer()
    fitted = MG1(0.8 / times.mean(), Gamma(float(times.mean()), float(times.std() / times.mean()))).answer()
    assert measured.mean_wait_s == pytest.approx(fitted.mean_wait_s, rel=1e-12)
    assert measured.p99_wait_s == pytest.approx(fitted.p99_wait_s, rel=0.05)


def test_constant_service_agrees_with_the_exact_model_where_it_is_smooth() -> None:
    inverted, exact = MG1(0.9, Constant(1.0)).answer(), MDc(0.9, 1.0).answer()
    assert inverted.mean_wait_s == pytest.approx(exact.mean_wait_s, rel=1e-12)
    assert inverted.p99_wait_s == pytest.approx(exact.p99_wait_s, rel=1e-8)


@given(time_s=st.floats(1e-3, 1e3), rate=st.floats(1e-3, 1e3))
def test_an_exponential_comes_back(time_s: float, rate: float) -> None:
    expected = float(np.exp(-rate * time_s))
    assert invert(lambda s: 1 / (s + rate), time_s) == pytest.approx(expected, abs=3e-12)
