"""Streams of arrivals: Poisson, renewal, and Markov-modulated."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mfi_command import BadInput
from mm1_planner.inputs import not_negative, parse_seconds, positive
from mm1_planner.service import Constant, Exponential, Gamma, Lognormal, Service

FORMS = "poisson, det, gamma:CV, lognormal:CV or mmpp:PEAK:SHARE:SECONDS"

Gaps = Callable[[int], np.ndarray]
"""The next gaps between arrivals, float64 seconds (n,)."""


class Arrivals(Protocol):
    """A stationary stream of arrivals."""

    @property
    def rate_per_s(self) -> float:
        """Arrivals per second in the long run."""

    @property
    def dispersion(self) -> float:
        """Variance over mean of the number of arrivals in a long time: 1 for Poisson."""

    @property
    def memory_s(self) -> float:
        """Time over which the stream remembers, beyond a gap; seconds."""

    def gaps(self, rng: np.random.Generator) -> Gaps:
        """Draws of one stream, in any blocks the same."""


@dataclass(frozen=True)
class Renewal:
    """Independent gaps of one law; exponential gaps are the Poisson process.

    Attributes
    ----------
    gap : Service
        Law of the gap.
    """

    gap: Service

    @property
    def rate_per_s(self) -> float:
        """One over the mean gap."""
        return 1 / self.gap.mean_s

    @property
    def dispersion(self) -> float:
        """The gaps' squared coefficient of variation."""
        return self.gap.scv

    @property
    def memory_s(self) -> float:
        """None beyond a gap."""
        return 0.0

    def gaps(self, rng: np.random.Generator) -> Gaps:
        """Independent draws."""
        return lambda count: self.gap.sample(rng, count)


@dataclass(frozen=True)
class Mmpp:
    r"""Poisson arrivals whose rate switches between two values: quiet and peak.

    Parameters
    ----------
    quiet_per_s, peak_per_s : float
        Arrival rates in the two states.
    quiet_s, peak_s : float
        Mean times that the states last, exponential, seconds.

    Raises
    ------
    BadInput
        If a number is out of range, or both rates are 0.

    Notes
    -----
    The dispersion of counts tends to
    $1+2\frac{(\lambda_1-\lambda_2)^2 r_1 r_2}{(r_1+r_2)^2(\lambda_1 r_2+\lambda_2 r_1)}$, with $r_i$ the rate
    of leaving state i. Fischer and Meier-Hellstern, The MMPP cookbook (1993).

    Examples
    --------
    >>> Mmpp(1.0, 10.0, quiet_s=80.0, peak_s=10.0).rate_per_s
    2.0
    """

    quiet_per_s: float
    peak_per_s: float
    quiet_s: float
    peak_s: float

    def __post_init__(self) -> None:
        not_negative("quiet rate", self.quiet_per_s, largest=1e12)
        positive("peak rate", self.peak_per_s)
        positive("quiet time", self.quiet_s)
        positive("peak time", self.peak_s)

    @property
    def rate_per_s(self) -> float:
        """Mean of the two rates by time."""
        total = self.quiet_s + self.peak_s
        return (self.quiet_per_s * self.quiet_s + self.peak_per_s * self.peak_s) / total

    @property
    def dispersion(self) -> float:
        """Limit of the index of dispersion for counts."""
        share = self.peak_s / (self.quiet_s + self.peak_s)
        spread = (self.peak_per_s - self.quiet_per_s) ** 2 * share * (1 - share)
        return 1 + 2 * spread * self.memory_s / self.rate_per_s

    @property
    def memory_s(self) -> float:
        """Relaxation time of the switching."""
        return 1 / (1 / self.quiet_s + 1 / self.peak_s)

    def gaps(self, rng: np.random.Generator) -> Gaps:
        """Each gap is a race between the next arrival and the next switch; the first state is stationary."""
        from mm1_planner.engine.modulated import draw_gaps

        share = self.peak_s / (self.quiet_s + self.peak_s)
        state = np.array([float(rng.random() < share)])
        rates = np.array([[self.quiet_per_s, 1 / self.quiet_s], [self.peak_per_s, 1 / self.peak_s]])
        return lambda count: draw_gaps(rng, rates, state, count)


def poisson(rate_per_s: float) -> Renewal:
    """The Poisson process of a rate."""
    return Renewal(Exponential(1 / positive("arrival rate", rate_per_s)))


def parse_arrivals(text: str | Arrivals, rate_per_s: float) -> Arrivals:
    """A stream of a rate from its name.

    `mmpp:PEAK:SHARE:SECONDS` has PEAK times the mean rate during a SHARE of the time, in peaks of mean
    length SECONDS.

    Raises
    ------
    BadInput
        If the text is none of the forms, a number is out of range, or PEAK times SHARE exceeds 1.

    Examples
    --------
    >>> parse_arrivals("mmpp:5:0.1:10s", 2.0).peak_per_s
    10.0
    """
    if not isinstance(text, str):
        return text
    rate = positive("arrival rate", rate_per_s)
    kind, *numbers = text.strip().lower().split(":")
    if kind in {"poisson", "det"} and not numbers:
        return poisson(rate) if kind == "poisson" else Renewal(Constant(1 / rate))
    if kind in {"gamma", "lognormal"} and len(numbers) == 1:
        cv = not_negative("cv of the gaps", _number("cv of the gaps", numbers[0]), largest=1e3)
        if cv < 1e-6:
            return Renewal(Constant(1 / rate))
        return Renewal(Gamma(1 / rate, cv) if kind == "gamma" else Lognormal(1 / rate, cv))
    if kind == "mmpp" and len(numbers) == 3:
        return _peaks(rate, *numbers)
    raise BadInput(f"arrivals {text!r} are not understood; expected {FORMS}")


def _peaks(rate: float, peak_text: str, share_text: str, length: str) -> Mmpp:
    peak, share = _number("peak", peak_text), _number("share", share_text)
    if not (peak > 1 and 0 < share < 1 and peak * share <= 1):
        raise BadInput(
            f"mmpp:{peak:g}:{share:g}: expected a peak above 1, a share of the time between 0 and 1, and at "
            "most 1 for their product, which is the share of the arrivals"
        )
    seconds = parse_seconds("mmpp seconds", length)
    quiet = max(0.0, rate * (1 - peak * share) / (1 - share))
    return Mmpp(quiet, rate * peak, quiet_s=seconds * (1 - share) / share, peak_s=seconds)


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise BadInput(f"{name} is {text!r}; expected a number; arrivals are {FORMS}") from None
    if not math.isfinite(number):
        raise BadInput(f"{name} is {text}; expected a finite number")
    return number
