"""A rate that changes over time: points joined by straight lines, and arrivals drawn from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mfi_command import BadInput
from mm1_planner.arrivals import Arrivals, parse_arrivals
from mm1_planner.inputs import parse_rate_per_s, parse_seconds
from mm1_planner.recordings.clock import numbers, seconds
from mm1_planner.recordings.rows import read_rows
from mm1_planner.streams import ARRIVALS, stream
from mm1_planner.trace import Trace

_MOST = 20_000_000
_FORM = "TIME=RATE points such as 0s=2/s,30min=20/s,60min=2/s, or a CSV file with columns time and rate"


@dataclass(frozen=True)
class Profile:
    """Arrival rate at points in time, straight lines between them.

    Attributes
    ----------
    times_s, rates_per_s : ndarray
        float64 (n,), n >= 2; times grow from 0, rates are not negative.
    """

    times_s: np.ndarray
    rates_per_s: np.ndarray

    @property
    def duration_s(self) -> float:
        """Seconds that the profile lasts."""
        return float(self.times_s[-1])

    @property
    def requests(self) -> float:
        """Mean number of arrivals: the area under the profile."""
        return float(self._area[-1])

    @property
    def rate_per_s(self) -> float:
        """Mean rate."""
        return self.requests / self.duration_s

    def rate_at(self, times_s: np.ndarray) -> np.ndarray:
        """Rate at each time, per second."""
        return np.asarray(np.interp(times_s, self.times_s, self.rates_per_s))

    def draw(self, *, arrivals: Arrivals | str = "poisson", seed: int = 0, replication: int = 0) -> Trace:
        r"""Arrivals with this rate, as a trace whose clock begins with the profile.

        A stream of rate 1 with arrival times $u_i$ is put on the clock of the profile: arrival i comes at
        $\Lambda^{-1}(u_i)$, $\Lambda$ the area under the rate so far. Poisson stays Poisson, and a stream
        with a CV keeps its dispersion (Massey and Whitt 1994).

        Raises
        ------
        BadInput
            If fewer than two requests are drawn, or more than 2e7 would be.
        """
        if self.requests > _MOST:
            raise BadInput(f"the profile brings {self.requests:.4g} requests; at most {_MOST} are simulated")
        traffic = parse_arrivals(arrivals, 1.0)
        gaps = traffic.gaps(stream(seed, 0, replication, ARRIVALS))
        units = np.empty(0)
        while not units.size or units[-1] < self.requests:
            more = np.cumsum(gaps(int(self.requests * 1.1) + 100))
            units = np.concatenate([units, more + (units[-1] if units.size else 0.0)])
        units = units[units < self.requests]
        if units.size < 2:
            raise BadInput(f"the profile brought {units.size} requests; expected at least 2: raise its rates")
        return Trace(self._inverse(units), {}, True)

    @property
    def _area(self) -> np.ndarray:
        steps = np.diff(self.times_s) * (self.rates_per_s[1:] + self.rates_per_s[:-1]) / 2
        return np.concatenate([[0.0], np.cumsum(steps)])

    def _inverse(self, units: np.ndarray) -> np.ndarray:
        """Time at which the area reaches each unit: the root of a parabola within its piece."""
        area = self._area
        piece = np.clip(np.searchsorted(area, units, side="right") - 1, 0, self.times_s.size - 2)
        start, length = self.rates_per_s[piece], np.diff(self.times_s)[piece]
        slope = (self.rates_per_s[piece + 1] - start) / length
        missing = units - area[piece]
        root = np.sqrt(np.maximum(start * start + 2 * slope * missing, 0.0))
        # The rationalised root: (root - start) / slope is 0/0 where the rate is level.
        return np.asarray(self.times_s[piece] + np.minimum(2 * missing / (start + root), length))


def parse_profile(text: str | Path | Profile) -> Profile:
    """A profile from points in a text, or from a CSV or JSON Lines file with columns `time` and `rate`.

    Raises
    ------
    BadInput
        If it has fewer than two points, times do not grow, a rate is negative, or all are 0.

    Examples
    --------
    >>> parse_profile("0s=1/s, 10min=5/s").requests
    1800.0
    """
    if isinstance(text, Profile):
        return text
    if isinstance(text, str) and "=" in text:
        points = [part.split("=", 1) for part in text.split(",")]
        if any(len(point) != 2 for point in points):
            raise BadInput(f"profile {text!r} is not understood; expected {_FORM}")
        times = np.array([_time(time) for time, _ in points])
        rates = np.array([parse_rate_per_s("rate", rate.strip(), idle=True) for _, rate in points])
    else:
        times, rates = _read(Path(text))
    if times.size < 2 or not (np.diff(times) > 0).all():
        raise BadInput("a profile needs at least two points whose times grow")
    if (rates < 0).any() or not rates.any():
        raise BadInput("rates of a profile are not negative, and not all 0")
    return Profile(times - times[0], rates)


def _time(text: str) -> float:
    bare = text.strip()
    return 0.0 if bare.rstrip("smihn") in ("0", "0.0") else parse_seconds("time", bare)


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    header, rows = read_rows(path)
    lower = [name.lower() for name in header]
    rate = next(
        (lower.index(name) for name in ("rate", "rate_per_s", "requests_per_s") if name in lower), None
    )
    time = next((lower.index(name) for name in ("time", "time_s", "timestamp") if name in lower), None)
    if time is None or rate is None or not rows:
        raise BadInput(f"{path.name} is no profile; expected {_FORM}")
    return seconds(header[time], [row[time] for row in rows]), numbers(
        header[rate], [row[rate] for row in rows]
    )
