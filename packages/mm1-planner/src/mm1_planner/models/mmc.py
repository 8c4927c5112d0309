"""M/M/c: Poisson arrivals, exponential service, c servers and one queue."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from mm1_planner.inputs import fraction, positive, whole
from mm1_planner.models.answer import Answer, steady, unstable
from mm1_planner.models.erlang import slack_per_s, wait_probability
from mm1_planner.models.invert import percentile_of


@dataclass(frozen=True)
class MMc:
    r"""M/M/c, exact, first come first served.

    $$ P(W_q>t)=C\,e^{-\theta t},\quad \theta=c\mu-\lambda,\qquad
    P(T>t)=(1-C)e^{-\mu t}+C\,e^{-mt}\bigl(1+mt\,\varphi(dt)\bigr) $$

    with $m=\min(\theta,\mu)$, $d=|\theta-\mu|$ and $\varphi(x)=(1-e^{-x})/x$, $\varphi(0)=1$: the tail of
    the sum of two exponentials, written so that it neither cancels nor divides by zero where
    $c\mu-\lambda=\mu$.

    Parameters
    ----------
    arrival_rate_per_s, service_rate_per_s : float
        $\lambda$ and $\mu$ of one server.
    servers : int
        c, up to 1e6.

    Raises
    ------
    BadInput
        If a rate is not a positive finite number in range, or `servers` not a whole number.

    Notes
    -----
    Cost O(c) once. Relative error below 1e-10 at c = 1e5 (Erlang C's); tests hold it to 1e-9 against
    40-digit references. Gross, Shortle, Thompson, Harris, Fundamentals of Queueing Theory, section 3.3.

    Examples
    --------
    >>> round(MMc(8, 5, 2).answer().mean_wait_s, 12)
    0.355555555556
    """

    arrival_rate_per_s: float
    service_rate_per_s: float
    servers: int

    def __post_init__(self) -> None:
        positive("arrival rate", self.arrival_rate_per_s)
        positive("service rate", self.service_rate_per_s)
        whole("servers", self.servers)

    @property
    def utilization(self) -> float:
        r"""$\rho=\lambda/(c\mu)$, also where it exceeds 1."""
        return self.arrival_rate_per_s / (self.servers * self.service_rate_per_s)

    @cached_property
    def wait_probability(self) -> float:
        """Erlang C: the share of customers that wait at all."""
        return wait_probability(self.arrival_rate_per_s, self.service_rate_per_s, self.servers)

    @cached_property
    def _slack(self) -> float:
        return slack_per_s(self.arrival_rate_per_s, self.service_rate_per_s, self.servers)

    @cached_property
    def _difference(self) -> float:
        # |theta - mu| = |(c - 1) mu - lambda|, rounded once: it may be tiny beside both.
        return abs(
            float((self.servers - 1) * Fraction(self.service_rate_per_s) - Fraction(self.arrival_rate_per_s))
        )

    def wait_tail(self, time_s: float) -> float:
        """Share of customers that wait longer than `time_s` seconds."""
        return self.wait_probability * math.exp(-self._slack * time_s) if self._slack > 0 else 1.0

    def sojourn_tail(self, time_s: float) -> float:
        """Share of customers that stay longer than `time_s` seconds."""
        if self._slack <= 0:
            return 1.0
        slower = min(self._slack, self.service_rate_per_s)
        x = self._difference * time_s
        phi = -math.expm1(-x) / x if x > 0 else 1.0
        both = math.exp(-slower * time_s) * (1 + slower * time_s * phi)
        waits = self.wait_probability
        return (1 - waits) * math.exp(-self.service_rate_per_s * time_s) + waits * both

    def wait_percentile(self, level: float) -> float:
        """Time in seconds that a share `level` of the customers waits at most; 0 within the atom."""
        exceeding = 1 - fraction("level", level)
        if self._slack <= 0:
            return math.inf
        if self.wait_probability <= exceeding:
            return 0.0
        return math.log(self.wait_probability / exceeding) / self._slack

    def sojourn_percentile(self, level: float) -> float:
        """Time in seconds that a share `level` of the customers stays at most."""
        exceeding = 1 - fraction("level", level)
        if self._slack <= 0:
            return math.inf
        service = -math.log(exceeding) / self.service_rate_per_s
        # P(W + S > w + s) <= P(W > w) + P(S > s): half of the tail for each bounds the percentile above.
        high = service + math.log(2) / self.service_rate_per_s + self.wait_percentile(1 - exceeding / 2)
        return percentile_of(self.sojourn_tail, exceeding, service * (1 - 1e-12), high)

    def answer(self) -> Answer:
        """Means and percentiles, or the unstable answer."""
        if self._slack <= 0:
            return unstable("M/M/c", self.utilization)
        wait = self.wait_probability / self._slack
        in_queue = self.arrival_rate_per_s * wait
        return steady(
            "M/M/c",
            method="exact",
            utilization=self.utilization,
            wait_probability=self.wait_probability,
            mean_in_system=in_queue + self.arrival_rate_per_s / self.service_rate_per_s,
            mean_in_queue=in_queue,
            mean_wait_s=wait,
            mean_sojourn_s=wait + 1 / self.service_rate_per_s,
            wait_percentile=self.wait_percentile,
            sojourn_percentile=self.sojourn_percentile,
        )
