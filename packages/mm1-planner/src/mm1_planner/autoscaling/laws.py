"""How Kubernetes decides on a number of replicas: the HorizontalPodAutoscaler, and KEDA in front of it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from mfi_command import BadInput
from mm1_planner.inputs import not_negative, parse_seconds, positive, whole

METRICS = ("queue", "concurrency", "arrivals", "utilization")
"""What is scaled on: requests waiting; waiting and in service; arrivals per second; busy share."""


@dataclass(frozen=True)
class Policy:
    """At most so many pods, or per cent of the replicas, within a period.

    Attributes
    ----------
    kind : {"pods", "percent"}
        What `value` counts.
    value : int
        How many.
    period_s : float
        Within how long.
    """

    kind: str
    value: int
    period_s: float

    def __post_init__(self) -> None:
        if self.kind not in ("pods", "percent"):
            raise BadInput(f"policy kind is {self.kind!r}; expected pods or percent")
        whole("policy value", self.value)
        positive("policy period", self.period_s)


def parse_policy(text: str) -> Policy:
    """A policy from `KIND:VALUE:SECONDS`, such as `pods:4:15` or `percent:100:15s`.

    Raises
    ------
    BadInput
        If the text has another form.

    Examples
    --------
    >>> parse_policy("pods:4:15")
    Policy(kind='pods', value=4, period_s=15.0)
    """
    parts = text.strip().split(":")
    if len(parts) != 3 or not parts[1].isdecimal():
        raise BadInput(f"policy {text!r} is not understood; expected KIND:VALUE:SECONDS, such as pods:4:15")
    return Policy(parts[0].lower(), int(parts[1]), parse_seconds("policy period", parts[2]))


@dataclass(frozen=True)
class Behavior:
    """One direction of an autoscaler, as in `spec.behavior` of `autoscaling/v2`.

    Attributes
    ----------
    window_s : float
        Stabilization: upwards the lowest, downwards the highest recommendation of so long counts.
    policies : tuple of Policy
        Limits of the speed; none is no limit.
    select : {"max", "min", "disabled"}
        Which policy counts: that of the most change, of the least, or this direction is off.
    """

    window_s: float = 0.0
    policies: tuple[Policy, ...] = ()
    select: str = "max"

    def __post_init__(self) -> None:
        not_negative("stabilization window", self.window_s, largest=3600)
        if self.select not in ("max", "min", "disabled"):
            raise BadInput(f"policy selection is {self.select!r}; expected max, min or disabled")


UP = Behavior(0.0, (Policy("percent", 100, 15.0), Policy("pods", 4, 15.0)))
"""The default of Kubernetes upwards: double or four pods within 15 s, whichever is more."""

DOWN = Behavior(300.0, (Policy("percent", 100, 15.0),))
"""The default of Kubernetes downwards: as far as wanted, after 300 s."""


@dataclass(frozen=True)
class Scaler:
    """An autoscaler.

    Attributes
    ----------
    metric : str
        One of `METRICS`.
    target : float
        Per replica: requests, arrivals per second, or a share of 1 for utilization.
    least, most : int
        Replicas; `least` 0 needs KEDA.
    kind : {"hpa", "keda"}
        KEDA adds scaling to and from 0, and reads the metric at its polling interval.
    sync_s : float
        The HPA decides so often; 15 s in Kubernetes.
    polling_s : float
        KEDA reads the metric so often (`pollingInterval`, 30 s), and the HPA sees what it read last.
    cooldown_s : float
        KEDA goes to 0 after so long without anything (`cooldownPeriod`, 300 s).
    tolerance : float
        A metric within this share of its target changes nothing; 0.1 in Kubernetes.
    startup_s : float
        From the decision until a new replica serves: schedule, pull, load, warm up.
    up, down : Behavior
        Stabilization and policies.
    rate_window_s : float
        Over how long arrivals and utilization are averaged, as in `rate(...[1m])`.
    """

    metric: str
    target: float
    least: int = 1
    most: int = 100
    kind: str = "hpa"
    sync_s: float = 15.0
    polling_s: float = 30.0
    cooldown_s: float = 300.0
    tolerance: float = 0.1
    startup_s: float = 60.0
    up: Behavior = UP
    down: Behavior = DOWN
    rate_window_s: float = 60.0

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise BadInput(f"metric is {self.metric!r}; expected one of {', '.join(METRICS)}")
        if self.kind not in ("hpa", "keda"):
            raise BadInput(f"scaler is {self.kind!r}; expected hpa or keda")
        positive("target", self.target)
        if self.metric == "utilization" and self.target > 1:
            raise BadInput(f"target is {self.target:g}; a utilization is a share of 1, such as 0.7")
        whole("least replicas", self.least, least=0 if self.kind == "keda" else 1, largest=100_000)
        whole("most replicas", self.most, least=max(self.least, 1), largest=100_000)
        for name in ("sync_s", "polling_s", "rate_window_s"):
            positive(name.removesuffix("_s").replace("_", " "), getattr(self, name))
        for name in ("cooldown_s", "tolerance", "startup_s"):
            not_negative(name.removesuffix("_s"), getattr(self, name))


@dataclass
class Controller:
    """The state of an autoscaler between its decisions."""

    scaler: Scaler
    _wanted: deque[tuple[float, int]] = field(default_factory=deque)
    _changes: deque[tuple[float, int]] = field(default_factory=deque)
    _active_s: float = 0.0

    def decide(self, now_s: float, replicas: int, total: float, *, floor: int = 0) -> int:
        """Replicas wanted now.

        Parameters
        ----------
        now_s : float
            Time of the decision.
        replicas : int
            Replicas there are, ready or not.
        total : float
            The metric, summed over the replicas; for utilization their busy share in sum.
        floor : int
            A schedule's least number, another trigger of the same scaler: the larger one counts.
        """
        scaler = self.scaler
        if total > 0:
            self._active_s = now_s
        if scaler.kind == "keda" and scaler.least == 0 and floor == 0:
            if total <= 0 and now_s - self._active_s >= scaler.cooldown_s:
                return self._changed(now_s, replicas, 0)
            if replicas == 0:
                return self._changed(now_s, 0, 1 if total > 0 else 0)
        low = max(scaler.least, floor, 1)
        wanted = self._recommended(replicas, total)
        wanted = min(max(wanted, low), scaler.most)
        wanted = self._stabilized(now_s, replicas, wanted)
        wanted = self._limited(now_s, replicas, wanted)
        return self._changed(now_s, replicas, min(max(wanted, low), scaler.most))

    def _recommended(self, replicas: int, total: float) -> int:
        """Of the metric alone: ceil(total / target), unless it is within the tolerance."""
        target = self.scaler.target
        if replicas and abs(total / (target * replicas) - 1) <= self.scaler.tolerance:
            return replicas
        # Rounding must not ask for one more where the metric is a whole multiple of the target.
        return math.ceil(total / target - 1e-9)

    def _stabilized(self, now_s: float, replicas: int, wanted: int) -> int:
        up, down = self.scaler.up.window_s, self.scaler.down.window_s
        if not self._wanted:
            # As Kubernetes does: what a new autoscaler finds counts as its first recommendation.
            self._wanted.append((now_s, replicas))
        lowest = min([wanted, *(count for at, count in self._wanted if at > now_s - up)])
        highest = max([wanted, *(count for at, count in self._wanted if at > now_s - down)])
        self._wanted.append((now_s, wanted))
        while self._wanted[0][0] <= now_s - max(up, down) and len(self._wanted) > 1:
            self._wanted.popleft()
        return min(max(replicas, lowest), highest)

    def _limited(self, now_s: float, replicas: int, wanted: int) -> int:
        if wanted > replicas:
            limits = [
                self._start(now_s, replicas, policy) + policy.value
                if policy.kind == "pods"
                else math.ceil(self._start(now_s, replicas, policy) * (1 + policy.value / 100))
                for policy in self.scaler.up.policies
            ]
            return min(wanted, self._selected(self.scaler.up, limits, replicas, max, min))
        if wanted < replicas:
            limits = [
                self._start(now_s, replicas, policy) - policy.value
                if policy.kind == "pods"
                else int(self._start(now_s, replicas, policy) * (1 - policy.value / 100))
                for policy in self.scaler.down.policies
            ]
            return max(wanted, self._selected(self.scaler.down, limits, replicas, min, max))
        return wanted

    def _start(self, now_s: float, replicas: int, policy: Policy) -> int:
        """Replicas at the start of the policy's period."""
        return replicas - sum(by for at, by in self._changes if at > now_s - policy.period_s)

    @staticmethod
    def _selected(
        behavior: Behavior, limits: Sequence[int], replicas: int, most: object, least: object
    ) -> int:
        if behavior.select == "disabled":
            return replicas
        if not limits:
            return 10**9 if most is max else 0
        chosen: int = (most if behavior.select == "max" else least)(limits)  # type: ignore[operator]
        return chosen

    def _changed(self, now_s: float, replicas: int, wanted: int) -> int:
        if wanted != replicas:
            self._changes.append((now_s, wanted - replicas))
        longest = max(
            (policy.period_s for side in (self.scaler.up, self.scaler.down) for policy in side.policies),
            default=0.0,
        )
        while self._changes and self._changes[0][0] <= now_s - longest:
            self._changes.popleft()
        return wanted
