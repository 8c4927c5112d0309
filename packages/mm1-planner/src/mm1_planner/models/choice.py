"""The best formula there is for Poisson arrivals and a law of service."""

from __future__ import annotations

from mm1_planner.models.answer import Answer
from mm1_planner.models.mdc import MDc
from mm1_planner.models.mg1 import MG1
from mm1_planner.models.mgc import MGc
from mm1_planner.models.mm1 import MM1
from mm1_planner.models.mmc import MMc
from mm1_planner.service import Constant, Empirical, Exponential, Service

_NEARLY_FULL = 0.9999


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
