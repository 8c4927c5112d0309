"""What the software around the kernels does to their time: a scalar, and what it takes to launch them."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latency_predictor.pass_time import Rules, Timed
from latency_predictor.timing import smooth_max
from mfi_command import BadInput

Floats = NDArray[np.float64]
# How sharply the larger of device time and issue time takes over: both vary by more than this matters.
_SHARPNESS = 8.0
PHASES = ("prefill", "decode")


@dataclass(frozen=True)
class Stack:
    """How a framework runs a pass.

    Attributes
    ----------
    name, title
        What it is called, and a sentence on it.
    recipe, attention
        Its kernels: see `recipes.RECIPES` and `DeviceFit.prefills`.
    fused
        One product for q, k, v and one for gate and up.
    scale
        Time over the sum of the kernels, by phase.
    issue_call_s, issue_step_s
        Seconds of the host to dispatch an operator, and besides for a pass; the device waits for a host that
        is slower than it.
    step_s
        Seconds that a pass takes whatever the device does.
    host_s
        Seconds of `collect`'s probe on the host that the issue times are of; 0 where it was not noted.
    spread
        Standard deviation of log(scale) among stacks and their versions: the prior that a user's rows move.
    source
        What it was fitted on.
    """

    name: str
    title: str
    recipe: str
    attention: str
    fused: bool
    scale: Mapping[str, float]
    issue_call_s: float
    issue_step_s: float
    step_s: float
    spread: float
    source: str
    host_s: float = 0.0

    @property
    def rules(self) -> Rules:
        """What `timed_operators` needs of it."""
        return Rules(self.recipe, self.attention)

    def pass_s(self, operators: Sequence[Timed], *, phase: str) -> Floats:
        """Seconds of a pass of these operators: the larger of device and host, and what neither hides."""
        busy = sum((one.seconds for one in operators), np.zeros_like(operators[0].seconds))
        issue = sum(one.calls for one in operators) * self.issue_call_s + self.issue_step_s
        both = smooth_max(busy * self.scale[phase], np.full_like(busy, issue), _SHARPNESS)
        return np.asarray(both + self.step_s)

    def scaled(self, factor: float, source: str) -> Stack:
        """The same with every phase `factor` times as long."""
        return replace(
            self,
            scale={phase: value * factor for phase, value in self.scale.items()},
            step_s=self.step_s * factor,
            issue_call_s=self.issue_call_s * factor,
            issue_step_s=self.issue_step_s * factor,
            source=source,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        numbers = ("issue_call_s", "issue_step_s", "step_s", "spread", "host_s")
        return {
            "title": self.title,
            "recipe": self.recipe,
            "attention": self.attention,
            "fused": self.fused,
            "scale": {phase: float(f"{value:.5g}") for phase, value in self.scale.items()},
            **{name: float(f"{getattr(self, name):.5g}") for name in numbers},
            "source": self.source,
        }


def stack_from(name: str, values: Mapping[str, Any]) -> Stack:
    """The inverse of `Stack.to_dict`."""
    return Stack(name=name, **values)


@cache
def table() -> dict[str, Any]:
    """stacks.toml: the stacks, and the errors and intervals measured on models and devices left out."""
    text = (files("latency_predictor") / "stacks.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@cache
def stacks() -> dict[str, Stack]:
    """The stacks that ship, by name."""
    return {name: stack_from(name, values) for name, values in table()["stack"].items()}


def find_stack(name: str | Stack) -> Stack:
    """A stack by name; `BadInput` names what there is."""
    if isinstance(name, Stack):
        return name
    if name not in stacks():
        raise BadInput(f"stack is {name!r}; there are measurements for {', '.join(stacks())}")
    return stacks()[name]


def posterior(log_ratios: Sequence[float], *, spread: float, noise: float) -> tuple[float, float]:
    """Mean and standard deviation of a stack's log scalar after a few rows.

    Prior N(0, spread^2), rows N(scalar, noise^2): the mean of the rows, shrunk towards 0 by
    (noise / spread)^2 rows that say nothing (Gelman et al., Bayesian Data Analysis, section 2.5).
    """
    precision = 1 / spread**2 + len(log_ratios) / noise**2
    return math.fsum(log_ratios) / noise**2 / precision, precision**-0.5
