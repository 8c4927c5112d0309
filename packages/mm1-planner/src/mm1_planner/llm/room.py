"""Requests in a batch of limited size, and in line for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_NEGLIGIBLE = 1e-13
_HUGE = 1e250


@dataclass(frozen=True)
class Slots:
    """Law of the requests in a replica.

    Attributes
    ----------
    idle, full : float
        Probability of none, and of as many as there are slots or more.
    busy, line : float
        Mean number in a slot, and waiting for one.
    """

    idle: float
    full: float
    busy: float
    line: float


@dataclass(frozen=True)
class Groups:
    r"""Arrivals that join together: those that came while the prompts of earlier ones ran.

    Attributes
    ----------
    prefill : float
        Share of the time that goes into prompts, $\varphi$: the mean offspring of an arrival.
    prompt_scv : float
        Squared coefficient of variation of the prompts.
    together : float
        $2\,\mathrm{E}\min(D_1,D_2)/\mathrm{E}D$ of the times that requests stay: 1 for geometric ones, 2
        where all are equal and a group leaves as it came. In that ratio the pairs of a group count.
    """

    prefill: float
    prompt_scv: float
    together: float

    def tail(self) -> tuple[float, float]:
        r"""a and q of P(X > k) = a q^(k-1), k >= 1, with the mean and the pairs of all descendants.

        Total progeny of a branching process with mean offspring phi and variance phi + phi² scv.
        """
        if self.prefill <= 0:
            return 0.0, 0.0
        mean = 1 / (1 - self.prefill)
        variance = self.prefill * (1 + self.prefill * self.prompt_scv) / (1 - self.prefill) ** 3
        pairs = (variance + mean * mean - mean) * self.together
        ratio = max(0.0, 1 - 2 * (mean - 1) / pairs)
        return (mean - 1) * (1 - ratio), ratio

    def last(self) -> float:
        """q of those beyond a full batch: who came during one prompt, after the one that filled it."""
        mean = self.prefill * (1 + self.prompt_scv) / 2
        return mean / (1 + mean)


def slots(rate_per_s: float, departures_per_s: np.ndarray, groups: Groups, *, pause: float) -> Slots:
    r"""Birth and death of the number m in the replica, in the time that prompts leave.

    Below the limit N, m grows by groups X; at it the prompts of those in line do not run, so that they come
    one by one, and every departure lets one prompt in, which takes the share `pause` of the time:

    $$ \pi_{m+1}\mu_{m+1}=\lambda\sum_{j\le m}\pi_jP(X>m-j)\quad(m<N),\qquad
       \pi_{m+1}\mu_N=\frac{\lambda}{1-p}\pi_m+\text{rests of groups}\quad(m\ge N). $$

    Parameters
    ----------
    departures_per_s : ndarray
        With m = 1..N in the replica.
    pause : float
        Share of the time that prompts take when the batch is full.

    Notes
    -----
    Cost O(N); the line is summed in closed form. Of a group beyond N only its last generation is left, since
    the prompts of those in line do not run.
    """
    beyond, ratio = groups.tail()
    law, earlier = [1.0], 0.0
    for departure in departures_per_s:
        following = rate_per_s * (law[-1] + beyond * earlier) / float(departure)
        earlier = law[-1] + ratio * earlier
        law.append(following)
        if following > _HUGE:
            law, earlier = [each / _HUGE for each in law], earlier / _HUGE
        if following < _NEGLIGIBLE * max(law[0], law[len(law) // 2]) and len(law) > 2:
            break
    below = np.array(law)
    complete = below.size > departures_per_s.size
    tail, line = 0.0, 0.0
    if complete:
        served = float(departures_per_s[-1])
        again = rate_per_s / (1 - pause) / served
        rest = rate_per_s * beyond * earlier / served
        fading = groups.last()
        tail = (below[-1] + rest / (1 - fading)) / (1 - again)
        line = (again * tail + rest / (1 - fading) ** 2) / (1 - again)
        below = below[:-1]
        # A second outside prompts is more of the clock where prompts take more of it.
        clock = (1 - groups.prefill) / (1 - pause)
        tail, line = tail * clock, line * clock
    total = float(below.sum()) + tail
    busy = float(below @ np.arange(below.size)) + departures_per_s.size * tail
    return Slots(float(below[0]) / total, tail / total, busy / total, line / total)
