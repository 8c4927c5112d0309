"""The best formula there is for a stream of arrivals and a law of service."""

from __future__ import annotations

import dataclasses
import math

from mm1_planner.arrivals import Arrivals, Mmpp, Renewal
from mm1_planner.models.answer import Answer
from mm1_planner.models.ggc import GGc
from mm1_planner.models.map_m_c import MAPMc
from mm1_planner.models.map_ph_1 import MAPPH1
from mm1_planner.models.mdc import MDc
from mm1_planner.models.mg1 import MG1
from mm1_planner.models.mgc import MGc
from mm1_planner.models.mm1 import MM1
from mm1_planner.models.mmc import MMc
from mm1_planner.models.phases import erlang_phases, mmpp_map, two_moment_phases
from mm1_planner.service import Constant, Empirical, Exponential, Gamma, Service

_NEARLY_FULL = 0.9999
_FEWEST_PHASES_SCV = 1 / 16
_WHOLE = 1e-9
_SIMULATE = "approximate, outside its declared range: simulate"


def answer_of(rate_per_s: float, law: Service, servers: int) -> Answer:
    """M/M/1, M/M/c, M/D/c and M/G/1 exactly; M/G/c, and the measured times of a trace, approximately.

    `Answer.model` and `Answer.method` say which.
    """
    if isinstance(law, Exponential):
        service_rate = 1 / law.mean_s
        return (
            MM1(rate_per_s, service_rate).answer()
            if servers == 1
            else MMc(rate_per_s, service_rate, servers).answer()
        )
    if isinstance(law, Constant) and rate_per_s * law.mean_s < _NEARLY_FULL * servers:
        return MDc(rate_per_s, law.mean_s, servers).answer()
    # Thousands of measured times make an inversion slow, and are a sample of the law, not the law.
    if servers == 1 and not isinstance(law, Empirical):
        return MG1(rate_per_s, law).answer()
    return MGc(rate_per_s, law, servers).answer()


def is_poisson(traffic: Arrivals) -> bool:
    """Whether the stream is a Poisson process."""
    return isinstance(traffic, Renewal) and isinstance(traffic.gap, Exponential)


def answer_to(traffic: Arrivals, law: Service, servers: int) -> Answer:
    """As `answer_of` where that is exact; GI/G/1 and GI/G/c by `GGc`; MMPP/M/c and MMPP/PH/1.

    A stream that is neither Poisson, renewal nor an MMPP, and an MMPP with several servers and other than
    exponential service, are answered as GI/G/c with gamma gaps of the stream's dispersion, and the method
    says to simulate.
    """
    rate = traffic.rate_per_s
    if isinstance(traffic, Mmpp):
        return _modulated(traffic, law, servers)
    if is_poisson(traffic) and (
        is_exactly_known(law, servers) or rate * law.mean_s >= _NEARLY_FULL * servers
    ):
        return answer_of(rate, law, servers)
    gap = traffic.gap if isinstance(traffic, Renewal) else _gaps_like(traffic)
    answer = GGc(gap, law, servers).answer()
    return answer if isinstance(traffic, Renewal) else dataclasses.replace(answer, method=_SIMULATE)


def is_exactly_known(law: Service, servers: int) -> bool:
    """Whether `answer_of` is exact for Poisson arrivals: else `GGc` is the better formula, in up to a second.

    The measured times of a trace on one server count as known, since to invert their transform is slow.
    """
    return servers == 1 or isinstance(law, Exponential | Constant)


def _gaps_like(traffic: Arrivals) -> Gamma:
    return Gamma(1 / traffic.rate_per_s, math.sqrt(traffic.dispersion))


def _modulated(traffic: Mmpp, law: Service, servers: int) -> Answer:
    if isinstance(law, Exponential):
        answer = MAPMc(mmpp_map(traffic), 1 / law.mean_s, servers).answer()
        return dataclasses.replace(answer, model="MMPP/M/1" if servers == 1 else "MMPP/M/c")
    if servers == 1 and law.scv >= _FEWEST_PHASES_SCV:
        phases = 1 / law.scv
        erlang = isinstance(law, Gamma) and abs(phases - round(phases)) < _WHOLE * phases
        services = (
            erlang_phases(law.mean_s, round(phases)) if erlang else two_moment_phases(law.mean_s, law.scv)
        )
        answer = MAPPH1(mmpp_map(traffic), services).answer()
        method = "exact" if erlang else "exact for a phase-type law with the service's two moments"
        return dataclasses.replace(answer, model="MMPP/PH/1", method=method)
    answer = GGc(_gaps_like(traffic), law, servers).answer()
    return dataclasses.replace(answer, model="MMPP/G/c", method=_SIMULATE if answer.stable else "exact")
