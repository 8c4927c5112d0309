"""Laws of the service time: drawn by the simulation, integrated by the formulas."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Protocol

import numpy as np

from mfi_command import BadInput
from mm1_planner.inputs import not_negative, parse_seconds, positive
from mm1_planner.transforms import gamma_deficit, lognormal_deficit, measured_deficit, one_minus_mean_decay

FORMS = "0.35 (mean of an exponential), exp:MEAN, det:SECONDS, lognormal:MEAN:CV or gamma:MEAN:CV"


class Service(Protocol):
    """A law of the service time in seconds."""

    @property
    def name(self) -> str:
        """The law as `parse_service` reads it."""

    @property
    def mean_s(self) -> float:
        """Mean, seconds."""

    @property
    def scv(self) -> float:
        """Squared coefficient of variation: variance / mean²."""

    def sample(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """`count` independent service times, float64 seconds."""

    def quantile(self, level: np.ndarray) -> np.ndarray:
        """Time not exceeded by a share `level`, elementwise."""

    def residual_deficit(self, s: np.ndarray) -> np.ndarray:
        """One minus the Laplace transform of the time left at an arrival, complex128, Re s >= 0."""


@dataclass(frozen=True)
class Exponential:
    """Exponential service."""

    mean_s: float
    scv: float = field(default=1.0, init=False)

    @property
    def name(self) -> str:
        """`exp:MEAN`."""
        return f"exp:{self.mean_s:g}"

    def sample(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Independent draws."""
        return rng.standard_exponential(count) * self.mean_s

    def quantile(self, level: np.ndarray) -> np.ndarray:
        """Inverse of the distribution function."""
        return np.asarray(-np.log1p(-np.asarray(level)) * self.mean_s)

    def residual_deficit(self, s: np.ndarray) -> np.ndarray:
        """The time left is exponential too."""
        return np.asarray(s * self.mean_s / (1 + s * self.mean_s))


@dataclass(frozen=True)
class Constant:
    """Every service takes the same time."""

    mean_s: float
    scv: float = field(default=0.0, init=False)

    @property
    def name(self) -> str:
        """`det:SECONDS`."""
        return f"det:{self.mean_s:g}"

    def sample(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """The same time, `count` times."""
        return np.full(count, self.mean_s)

    def quantile(self, level: np.ndarray) -> np.ndarray:
        """The same time."""
        return np.full(np.shape(level), self.mean_s)

    def residual_deficit(self, s: np.ndarray) -> np.ndarray:
        """The time left is uniform."""
        return one_minus_mean_decay(s * self.mean_s)


@dataclass(frozen=True)
class Lognormal:
    """Lognormal service of a given mean and coefficient of variation."""

    mean_s: float
    cv: float

    @property
    def name(self) -> str:
        """`lognormal:MEAN:CV`."""
        return f"lognormal:{self.mean_s:g}:{self.cv:g}"

    @property
    def scv(self) -> float:
        """Squared coefficient of variation."""
        return self.cv**2

    def sample(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Independent draws."""
        return np.exp(self._location + self._sigma * rng.standard_normal(count))

    def quantile(self, level: np.ndarray) -> np.ndarray:
        """Inverse of the distribution function."""
        from scipy.special import ndtri

        return np.asarray(np.exp(self._location + self._sigma * ndtri(level)))

    def residual_deficit(self, s: np.ndarray) -> np.ndarray:
        """By quadrature, to rounding."""
        return lognormal_deficit(s, self._location, self._sigma)

    @property
    def _sigma(self) -> float:
        return math.sqrt(math.log1p(self.scv))

    @property
    def _location(self) -> float:
        return math.log(self.mean_s) - math.log1p(self.scv) / 2


@dataclass(frozen=True)
class Gamma:
    """Gamma service; cv = 1 is the exponential, cv < 1 more regular, cv > 1 more variable."""

    mean_s: float
    cv: float

    @property
    def name(self) -> str:
        """`gamma:MEAN:CV`."""
        return f"gamma:{self.mean_s:g}:{self.cv:g}"

    @property
    def scv(self) -> float:
        """Squared coefficient of variation."""
        return self.cv**2

    def sample(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Independent draws."""
        return rng.standard_gamma(1 / self.scv, count) * (self.mean_s * self.scv)

    def quantile(self, level: np.ndarray) -> np.ndarray:
        """Inverse of the distribution function."""
        from scipy.special import gammaincinv

        return np.asarray(gammaincinv(1 / self.scv, level) * (self.mean_s * self.scv))

    def residual_deficit(self, s: np.ndarray) -> np.ndarray:
        """In closed form."""
        return gamma_deficit(s, self.mean_s, self.scv)


@dataclass(frozen=True)
class Empirical:
    """The service times of a trace, each equally likely."""

    times_s: np.ndarray
    name: str = "measured"

    @property
    def mean_s(self) -> float:
        """Mean of the times."""
        return float(self.times_s.mean())

    @property
    def scv(self) -> float:
        """Variance / mean² of the times."""
        return float(self.times_s.var() / self.times_s.mean() ** 2)

    def sample(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draws with replacement."""
        return np.asarray(rng.choice(self.times_s, count))

    def quantile(self, level: np.ndarray) -> np.ndarray:
        """Smallest time not exceeded by a share `level`."""
        return np.asarray(np.quantile(self.times_s, level, method="inverted_cdf"))

    def residual_deficit(self, s: np.ndarray) -> np.ndarray:
        """A sum over the times."""
        return measured_deficit(s, self.times_s, np.ones(self.times_s.size))


def parse_service(text: str | float | Service) -> Service:
    """A service law from its name; a plain number of seconds is the mean of an exponential.

    Raises
    ------
    BadInput
        If the text is none of the forms, or a number in it is out of range.

    Examples
    --------
    >>> parse_service("lognormal:0.5:2").scv
    4.0
    """
    if not isinstance(text, str | float | int):
        return text
    kind, *numbers = str(text).split(":")
    kind = kind.strip().lower()
    if kind in {"exp", "det"} and len(numbers) == 1:
        mean_s = parse_seconds("service time", numbers[0])
        return Exponential(mean_s) if kind == "exp" else Constant(mean_s)
    if kind in {"lognormal", "gamma"} and len(numbers) == 2:
        return _two_moments(kind, parse_seconds("service time", numbers[0]), numbers[1])
    if numbers:
        raise BadInput(f"service {text!r} is not understood; expected {FORMS}")
    try:
        return Exponential(parse_seconds("service time", kind))
    except BadInput as error:
        raise BadInput(f"{error}; or {FORMS}") from None


def gamma_service(mean_s: float, scv: float) -> Service:
    """The gamma law of a mean and squared coefficient of variation; scv 0 is constant, 1 exponential."""
    mean_s, scv = positive("service time", mean_s), not_negative("scv", scv)
    if scv == 0:
        return Constant(mean_s)
    return Exponential(mean_s) if scv == 1 else Gamma(mean_s, math.sqrt(scv))


def lognormal_from_percentile(mean_s: float, percentile_s: float, *, level: float = 0.99) -> Service:
    r"""The lognormal law with a given mean and percentile: $\ln(q/m) = z\sigma - \sigma^2/2$, smaller root.

    For a latency known by its mean and its p99. A percentile equal to the mean gives a constant.

    Raises
    ------
    BadInput
        If the percentile is below the mean, or too far above it for any lognormal law (14.9 times at p99).
    """
    mean_s, percentile_s = positive("mean", mean_s), positive("percentile", percentile_s)
    z, ratio = NormalDist().inv_cdf(level), math.log(percentile_s / mean_s)
    if not 0 <= 2 * ratio <= z * z:
        raise BadInput(
            f"a percentile of {percentile_s:g} s fits no lognormal law of mean {mean_s:g} s; "
            f"expected between the mean and {math.exp(z * z / 2):.4g} times it"
        )
    # The rationalised smaller root: z - sqrt(z^2 - 2 r) cancels where the percentile is close to the mean.
    sigma = 2 * ratio / (z + math.sqrt(z * z - 2 * ratio))
    return Lognormal(mean_s, math.sqrt(math.expm1(sigma * sigma))) if sigma > 0 else Constant(mean_s)


def _two_moments(kind: str, mean_s: float, cv_text: str) -> Service:
    try:
        cv = not_negative("cv", float(cv_text), largest=1e3)
    except ValueError as error:
        raise BadInput(f"cv of the service time is {cv_text!r}; {error}") from None
    if cv < 1e-6:
        return Constant(mean_s)
    return Lognormal(mean_s, cv) if kind == "lognormal" else Gamma(mean_s, cv)
