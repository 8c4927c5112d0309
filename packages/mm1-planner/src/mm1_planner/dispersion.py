"""Whether arrivals look like a Poisson process: the test that a formula has to pass first."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from mm1_planner.renewal import SHUFFLES, Autocorrelation, autocorrelation, dependence, index_of_dispersion

_SCALES = 12
_FEWEST_WINDOWS = 20
_LARGE = 1.25
"""An index of dispersion below this is let pass: it lengthens the queue by less than other doubts do."""
_CHANCE = 0.001
_CHANCE_RENEWAL = 1 / (SHUFFLES + 1)
_RATES = 60


@dataclass(frozen=True)
class Dispersion:
    """The index of dispersion of counts at one time scale.

    Attributes
    ----------
    window_s : float
        Length of a window, seconds.
    index : float
        Variance over mean of the arrivals in a window; 1 for Poisson arrivals.
    poisson_high : float
        What Poisson arrivals exceed once in a thousand traces, at any scale.
    """

    window_s: float
    index: float
    poisson_high: float


@dataclass(frozen=True)
class Rate:
    """Arrivals per second in the window that begins `start_s` after the first arrival."""

    start_s: float
    rate_per_s: float


@dataclass(frozen=True)
class Burstiness:
    """How far arrivals are from Poisson.

    Attributes
    ----------
    rate_per_s : float
        Mean rate.
    gap_cv : float
        Standard deviation over mean of the gaps; 1 for Poisson arrivals.
    dispersion : list of Dispersion
        By growing window.
    poisson : bool
        Whether a Poisson answer may be trusted: no scale is above both `poisson_high` and 1.25.
    verdict : str
        The same in a sentence.
    autocorrelation : list of Autocorrelation
        Of the gaps, by growing lag.
    renewal : bool
        Whether gaps may be taken as independent of each other, of whatever law: their order does not matter.
    rates : list of Rate
        In 60 equal windows, the trace's course.
    """

    rate_per_s: float
    gap_cv: float
    dispersion: list[Dispersion]
    poisson: bool
    verdict: str
    autocorrelation: list[Autocorrelation]
    renewal: bool
    rates: list[Rate]

    @property
    def trust(self) -> str:
        """The simplest answer that may be trusted: `poisson`, `renewal` (rate and CV), or `replay`."""
        return "poisson" if self.poisson else "renewal" if self.renewal else "replay"

    def to_dict(self) -> dict[str, object]:
        """Plain data with the same names."""
        return asdict(self) | {"trust": self.trust}


def burstiness(arrivals_s: np.ndarray) -> Burstiness:
    r"""Gap CV and index of dispersion of counts, with a verdict.

    $$ \mathrm{IDC}(w) = \frac{\mathrm{Var}\,N(w)}{\mathrm{E}\,N(w)} $$

    over the k whole windows of length w. For Poisson arrivals of whatever rate $(k-1)\,\mathrm{IDC}$ is
    close to $\chi^2_{k-1}$ (Cox and Lewis, section 6.3); the level 0.001 is shared among the scales. Windows
    grow by a constant factor from two mean gaps to a twentieth of the trace.

    Parameters
    ----------
    arrivals_s : ndarray
        Times of arrival, float64 seconds (n,), never decreasing.

    Notes
    -----
    A rate that drifts shows as dispersion at long windows: it spoils the Poisson answer as bursts do. A
    trace of fewer than 40 requests has no window long enough: nothing is known, and `poisson` is False.
    """
    gaps = np.diff(arrivals_s)
    arrivals = arrivals_s - arrivals_s[0]
    span = float(arrivals[-1])
    scales = _windows(span, gaps.size)
    found = [_dispersion(arrivals, span, width, _CHANCE / len(scales)) for width in scales]
    poisson = bool(found) and not any(scale.index > max(scale.poisson_high, _LARGE) for scale in found)
    renewal, ratio = poisson, 1.0
    if found and not poisson:
        p, ratio = dependence(gaps, [scale.index for scale in found], scales)
        renewal = p > _CHANCE_RENEWAL or ratio < _LARGE
    cv = float(gaps.std() / gaps.mean())
    return Burstiness(
        rate_per_s=gaps.size / span,
        gap_cv=cv,
        dispersion=found,
        poisson=poisson,
        verdict=_judge(found, poisson, renewal, ratio, cv),
        autocorrelation=autocorrelation(gaps),
        renewal=renewal,
        rates=_rates(arrivals, span),
    )


def _windows(span_s: float, arrivals: int) -> list[float]:
    shortest, longest = 2 * span_s / max(arrivals, 1), span_s / _FEWEST_WINDOWS
    return [float(width) for width in np.geomspace(shortest, longest, _SCALES)] if shortest < longest else []


def _rates(arrivals_s: np.ndarray, span_s: float) -> list[Rate]:
    width = span_s / _RATES
    counts = np.histogram(arrivals_s[1:], bins=_RATES, range=(0.0, span_s))[0]
    return [Rate(index * width, float(count / width)) for index, count in enumerate(counts)]


def _dispersion(arrivals_s: np.ndarray, span_s: float, width_s: float, chance: float) -> Dispersion:
    from scipy.special import chdtri

    index, count = index_of_dispersion(arrivals_s, span_s, width_s)
    return Dispersion(width_s, index, float(chdtri(count - 1, chance)) / (count - 1))


def _judge(found: list[Dispersion], poisson: bool, renewal: bool, ratio: float, cv: float) -> str:
    if not found:
        return "too few requests to tell whether they are Poisson: the trace itself decides"
    worst = max(found, key=lambda scale: scale.index)
    if poisson:
        return (
            f"no more bursty than Poisson arrivals (index of dispersion at most {worst.index:.3g}): "
            "the Poisson answer may be trusted"
        )
    counts = (
        f"bursty: counts in windows of {worst.window_s:.3g} s vary {worst.index:.3g} times as much as "
        "Poisson counts: do not trust the Poisson answer, "
    )
    if renewal:
        return f"{counts}a renewal answer (gap CV {cv:.3g}) may be trusted: the order of the gaps is chance"
    return f"{counts}nor a renewal answer (their order alone makes {ratio:.3g} of it): replay the trace"
