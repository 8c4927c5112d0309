"""A promise on a batching server, such as p99_ttft<0.5."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mm1_planner.llm.simulation import LlmSimulation
from mm1_planner.models.answer import LEVELS
from mm1_planner.slo import Promise, read_promise


@dataclass(frozen=True)
class LlmSlo(Promise):
    """A promise on TTFT, ITL, TPOT or the end-to-end time, such as `p99_ttft_s`."""

    @property
    def what(self) -> str:
        """`ttft`, `itl`, `tpot` or `e2e`."""
        return self.metric.split("_")[1]

    def measured_s(self, run: LlmSimulation) -> float:
        """The metric; infinite where more requests went unserved than the promise allows."""
        level, what, _ = self.metric.split("_")
        if what in ("ttft", "e2e"):
            times = np.sort(np.where(np.isnan(getattr(run, f"{what}_s")), np.inf, getattr(run, f"{what}_s")))
            if level == "mean":
                return float(times.mean())
            return float(times[max(0, math.ceil(LEVELS[level] * times.size - 1e-9) - 1)])
        allowed = 0.0 if level == "mean" else 1 - LEVELS[level]
        if run.unserved > allowed * run.requests:
            return math.inf
        found = run.itl[self.metric] if what == "itl" else run.estimates[self.metric].value
        # Where every output is one token there is no time between two, and nothing that could be late.
        return 0.0 if math.isnan(found) else found


def parse_llm_slo(text: str | LlmSlo) -> LlmSlo:
    """A promise from `mean|p50|p90|p95|p99|p99.9`, `_ttft|_itl|_tpot|_e2e`, `<`, seconds (or `500ms`).

    Raises
    ------
    BadInput
        If the text has another form.

    Examples
    --------
    >>> parse_llm_slo("p99_ttft<500ms")
    LlmSlo(metric='p99_ttft_s', limit_s=0.5)
    """
    if isinstance(text, LlmSlo):
        return text
    return LlmSlo(*read_promise(text, ("ttft", "itl", "tpot", "e2e"), "p99_ttft<0.5 or mean_itl<30ms"))
