"""A promise such as p99_wait<0.5."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mfi_command import BadInput
from mm1_planner.inputs import parse_seconds
from mm1_planner.models.answer import LEVELS

_FORM = re.compile(r"\s*(mean|p[\d.]+)_([a-z0-9]+?)(?:_s)?\s*<=?\s*(\S.*?)\s*")


@dataclass(frozen=True)
class Promise:
    """A limit on the mean or a percentile of a time.

    Attributes
    ----------
    metric : str
        A name in seconds, such as `p99_wait_s`.
    limit_s : float
        The metric has to stay below it.
    """

    metric: str
    limit_s: float

    @property
    def level(self) -> float | None:
        """The percentile as a fraction; None for a mean."""
        return LEVELS.get(self.metric.partition("_")[0])

    def __str__(self) -> str:
        return f"{self.metric.removesuffix('_s')}<{self.limit_s:g}"


@dataclass(frozen=True)
class Slo(Promise):
    """A promise on the wait or the sojourn: a name of `METRICS` in seconds."""

    @property
    def includes_service(self) -> bool:
        """Whether the service time itself counts: no number of servers shortens that."""
        return "_sojourn_" in self.metric


def parse_slo(text: str | Slo) -> Slo:
    """An SLO from `p50|p90|p95|p99|p99.9|mean`, `_wait|_sojourn`, `<`, seconds (or `500ms`).

    Raises
    ------
    BadInput
        If the text has another form.

    Examples
    --------
    >>> parse_slo("p99.9_sojourn < 500ms")
    Slo(metric='p999_sojourn_s', limit_s=0.5)
    """
    if isinstance(text, Slo):
        return text
    if any(f"_{what}" in text for what in ("ttft", "itl", "tpot", "e2e")):
        raise BadInput(
            f"SLO {text!r} is of a server that batches tokens: give the service as "
            "llm:alpha=12ms,beta=100us,delta=30us, or use `mm1-planner llm`"
        )
    return Slo(*read_promise(text, ("wait", "sojourn"), "p99_wait<0.5 or mean_sojourn<350ms"))


def parse_slos(text: str | Slo | Sequence[str | Slo]) -> tuple[Slo, ...]:
    """Several SLOs, to be kept together; commas in a text divide them.

    Raises
    ------
    BadInput
        If there is none, one is not understood, or a metric is promised twice.

    Examples
    --------
    >>> [slo.metric for slo in parse_slos("p99_wait<0.5, mean_sojourn<1")]
    ['p99_wait_s', 'mean_sojourn_s']
    """
    items = text.split(",") if isinstance(text, str) else [text] if isinstance(text, Slo) else list(text)
    slos = tuple(
        parse_slo(part) for item in items for part in (item.split(",") if isinstance(item, str) else [item])
    )
    if not slos:
        raise BadInput("no promise to keep: give at least one SLO such as p99_wait<0.5")
    if len({slo.metric for slo in slos}) < len(slos):
        raise BadInput("two limits for one metric: keep the lower one")
    return slos


def read_promise(text: str, quantities: tuple[str, ...], examples: str) -> tuple[str, float]:
    """Metric, such as `p99_wait_s`, and limit in seconds of a promise on one of `quantities`.

    Raises
    ------
    BadInput
        If the text has another form; the sentence gives `examples`.
    """
    match = _FORM.fullmatch(text)
    level = match[1].replace(".", "") if match else ""
    if match is None or level not in {"mean", *LEVELS} or match[2] not in quantities:
        known = f"{', '.join(quantities[:-1])} or {quantities[-1]}"
        raise BadInput(
            f"SLO {text!r} is not understood; expected such as {examples} "
            f"(mean, p50, p90, p95, p99, p99.9 of {known})"
        )
    return f"{level}_{match[2]}_s", parse_seconds("limit of the SLO", match[3])
