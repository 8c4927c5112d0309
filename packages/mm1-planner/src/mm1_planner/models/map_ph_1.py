"""MAP/PH/1: arrivals and services that depend on hidden phases, one server; MMPP/M/1 is the smallest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mfi_command import BadInput
from mm1_planner.inputs import fraction
from mm1_planner.models.answer import Answer, steady, unstable
from mm1_planner.models.decay import Decay
from mm1_planner.models.phases import Matrices
from mm1_planner.models.qbd import first_passage, stationary, visits

_MOST_STATES = 1_500


@dataclass(frozen=True, eq=False)
class MAPPH1:
    r"""MAP/PH/1, exact by matrix-analytic methods, first come first served.

    Levels are the customers in the system, phases the pair of arrival and service phase. With G by
    logarithmic reduction, $N$ the visits and $R=(D_1\otimes I)N$, the level n >= 1 has the law
    $\pi_1R^{n-1}$. A customer who finds n waits for n services; summed over n with the weights
    $\pi_1R^{n-1}$ these have one linear differential equation,

    $$ u'(t) = u\,T^\top + R^\top u\,(\tau\alpha)^\top,\qquad P(W_q>t)=\langle K,u(t)\rangle $$

    (T, τ the services' subgenerator and exit rates, α their start), whose matrix has no negative entry off
    its diagonal: the wait is phase-type, and its tail a sum of positive terms.

    Parameters
    ----------
    arrivals : tuple of ndarray
        D0 and D1, float64 (m, m): generators without and with an arrival, per second.
    services : tuple of ndarray
        α (k,) and T (k, k), per second.

    Raises
    ------
    BadInput
        If the matrices are not what they should be, or m k² + k exceeds 1,500.

    Notes
    -----
    Cost O((m k²)³) once and O((m k²)²) for a percentile. Relative error below 1e-9, held by tests against
    40-digit references up to a load of 0.99. Neuts, Matrix-geometric Solutions (1981); Ozawa, Sojourn time
    distributions in the queue defined by a general QBD process (2006).

    Examples
    --------
    >>> from mm1_planner.models.phases import erlang_phases, poisson_map
    >>> round(MAPPH1(poisson_map(0.5), erlang_phases(1.0, 2)).answer().mean_wait_s, 12)  # E2: scv 1/2
    0.75
    """

    arrivals: Matrices
    services: Matrices

    def __post_init__(self) -> None:
        (quiet, arriving), (start, steps) = self.arrivals, self.services
        phases, size = len(quiet), len(start)
        if quiet.shape != (phases, phases) or arriving.shape != quiet.shape or steps.shape != (size, size):
            raise BadInput("MAP/PH/1: expected D0 and D1 of one square shape, alpha (k,) and T (k, k)")
        rates = np.concatenate([quiet.ravel(), arriving.ravel(), start, steps.ravel()])
        off = [matrix - np.diag(np.diag(matrix)) for matrix in (quiet, steps)]
        leaves = -steps.sum(axis=1)
        scale = np.abs(rates).max()
        fine = (
            np.isfinite(rates).all()
            and min(arriving.min(), start.min(), off[0].min(), off[1].min()) >= 0
            and np.abs((quiet + arriving).sum(axis=1)).max() <= 1e-9 * scale
            and abs(start.sum() - 1) <= 1e-9
            and leaves.min() >= -1e-9 * scale
            and leaves.max() > 0
            and arriving.max() > 0
        )
        if not fine:
            raise BadInput(
                "MAP/PH/1: expected D1 >= 0, D0 and T with no negative rate off the diagonal, rows of "
                "D0 + D1 summing to 0, those of T to at most 0, and alpha to 1"
            )
        if phases * size * size + size > _MOST_STATES:
            raise BadInput(f"MAP/PH/1 with {phases} by {size} phases: expected m k² + k up to {_MOST_STATES}")

    @cached_property
    def arrival_rate_per_s(self) -> float:
        """Arrivals per second in the long run."""
        quiet, arriving = self.arrivals
        return float(stationary(quiet + arriving) @ arriving.sum(axis=1))

    @cached_property
    def utilization(self) -> float:
        """Arrival rate times mean service, also where it exceeds 1."""
        start, steps = self.services
        return self.arrival_rate_per_s * float(start @ np.linalg.solve(-steps, np.ones(len(start))))

    @cached_property
    def _levels(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Laws of level 0 (m,) and of level 1 (m k,), and R."""
        (quiet, arriving), (start, steps) = self.arrivals, self.services
        leave = -steps.sum(axis=1)
        here, there = np.eye(len(quiet)), np.eye(len(start))
        up, local = np.kron(arriving, there), np.kron(quiet, there) + np.kron(here, steps)
        down = np.kron(here, np.outer(leave, start))
        stay = visits(up, local, first_passage(up, local, down))
        enter, exits = np.kron(arriving, start), np.kron(here, leave[:, None])
        empty = stationary(quiet + enter @ stay @ exits) * (1 - self.utilization)
        return empty, empty @ enter @ stay, up @ stay

    @cached_property
    def wait_probability(self) -> float:
        """Share of the customers that wait at all: those who do not find level 0."""
        if self.utilization >= 1:
            return 1.0
        arriving = self.arrivals[1].sum(axis=1)
        return 1 - float(self._levels[0] @ arriving) / self.arrival_rate_per_s

    @cached_property
    def _numbers(self) -> tuple[float, float]:
        """Mean numbers in the queue and in the system."""
        _, first, ratio = self._levels
        one = np.ones(len(first))
        higher = np.linalg.solve(np.eye(len(first)) - ratio, one)
        system = float(first @ np.linalg.solve(np.eye(len(first)) - ratio, higher))
        return system - float(first @ higher), system

    @cached_property
    def _decays(self) -> tuple[Decay, Decay]:
        """Tails of the wait and of the sojourn."""
        start, steps = self.services
        _, first, ratio = self._levels
        size, phases = len(start), len(first)
        leave = -steps.sum(axis=1)
        finish = np.outer(leave, start)
        whole = np.zeros((phases * size + size,) * 2)
        whole[:-size, :-size] = np.kron(np.eye(phases), steps) + np.kron(ratio.T, finish)
        whole[:-size, -size:] = np.kron(first[:, None], finish)  # the customer's own service comes last
        whole[-size:, -size:] = steps
        seen = np.linalg.solve(np.eye(phases) - ratio.T, first)
        arriving = np.repeat(self.arrivals[1].sum(axis=1), size) / self.arrival_rate_per_s
        read = np.concatenate(
            [(arriving[:, None] * np.tile(np.eye(size), (phases // size, 1))).ravel(), start]
        )
        read[-size:] *= 1 - self.wait_probability
        ahead = np.concatenate([np.repeat(seen, size), np.zeros(size)])
        # Without a service of his own a customer is gone when those ahead are.
        alone = whole.copy()
        alone[:, -size:] = 0.0
        own = np.concatenate([np.repeat(seen, size), np.ones(size)])
        return Decay(alone[:-size, :-size], ahead[:-size], read[:-size]), Decay(whole, own, read)

    def wait_tail(self, time_s: float) -> float:
        """Share of customers that wait longer than `time_s` seconds."""
        return self._decays[0].at(time_s) if self.utilization < 1 else 1.0

    def sojourn_tail(self, time_s: float) -> float:
        """Share of customers that stay longer than `time_s` seconds."""
        return self._decays[1].at(time_s) if self.utilization < 1 else 1.0

    def wait_percentile(self, level: float) -> float:
        """Time in seconds that a share `level` waits at most; 0 within the atom."""
        exceeding = 1 - fraction("level", level)
        return self._decays[0].when(exceeding) if self.utilization < 1 else math.inf

    def sojourn_percentile(self, level: float) -> float:
        """Time in seconds that a share `level` stays at most."""
        exceeding = 1 - fraction("level", level)
        return self._decays[1].when(exceeding) if self.utilization < 1 else math.inf

    def answer(self) -> Answer:
        """Means and percentiles, or the unstable answer."""
        if self.utilization >= 1:
            return unstable("MAP/PH/1", self.utilization)
        waiting, present = self._numbers
        return steady(
            "MAP/PH/1",
            method="exact",
            utilization=self.utilization,
            wait_probability=self.wait_probability,
            mean_in_system=present,
            mean_in_queue=waiting,
            mean_wait_s=waiting / self.arrival_rate_per_s,
            mean_sojourn_s=present / self.arrival_rate_per_s,
            wait_percentile=self.wait_percentile,
            sojourn_percentile=self.sojourn_percentile,
        )
