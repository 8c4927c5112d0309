"""Runs the five stages in order and puts the page together."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mfi.report.page import Section, render
from mfi.report.question import Decided, Question
from mfi.report.stages import (
    Stage,
    Tick,
    compression_stage,
    latency_stage,
    plan_stage,
    risk_stage,
    roofline_stage,
)

Progress = Callable[[str], AbstractContextManager[Tick]]
_TOOLS = (
    "math-for-infra",
    "quant-risk-analyzer",
    "svd-compress",
    "roofline",
    "latency-predictor",
    "mm1-planner",
)


@dataclass(frozen=True)
class Chain:
    """The answers of the five tools.

    Attributes
    ----------
    question
        What was asked.
    stages
        In the order of the chain, by the id of their section.
    parameters
        Of the model, tied ones counted once.
    quantized_source
        The block formats that the weights are stored in, such as "Q4_1": risks and spectra then carry the
        rounding that was done before. None where they are stored as floats.
    elapsed_s
        By stage.
    """

    question: Decided
    stages: Mapping[str, Stage]
    parameters: int
    quantized_source: str | None
    elapsed_s: Mapping[str, float]

    @property
    def title(self) -> str:
        """What the page is about; of a path, the last part."""
        return f"{Path(self.question.model).name}: from weights to replicas"

    @property
    def sections(self) -> list[Section]:
        """What the page shows."""
        return [stage.section for stage in self.stages.values()]

    def to_dict(self) -> dict[str, Any]:
        """The fields of `mfi report --json`: each stage with its answer as a sentence."""
        fields: dict[str, Any] = {
            "parameters": self.parameters,
            "quantized_source": self.quantized_source,
            "elapsed_s": dict(self.elapsed_s),
        }
        for name, stage in self.stages.items():
            fields[name] = {"answer": stage.section.answer, **stage.fields}
        return fields

    def page(self) -> str:
        """The self-contained HTML page."""
        shown = self.question
        facts = (
            f"{self.parameters:,} parameters · {shown.device}, {shown.stack}, {shown.dtype} · "
            f"{shown.prompt_tokens} tokens in, {shown.output_tokens} out · "
            f"{shown.arrival_rate_per_s:g} requests/s, {shown.slo} s"
        )
        if self.quantized_source:
            facts += (
                f" · the source is already quantized ({self.quantized_source}): its noise is in every number"
            )
        made = {"made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")}
        made |= {name: version(name) for name in _TOOLS}
        return render(self.title, facts, self.sections, made)


def run(question: Question, progress: Progress) -> Chain:
    """Ask each tool in turn; what one answers, the next uses.

    Parameters
    ----------
    question
        The model, the hardware, the traffic, the promise.
    progress
        Opens a progress bar with a description; the stage ticks it.

    Raises
    ------
    BadInput
        If a tool refuses its input.
    """
    from checkpoint_lens import load_model, read_text
    from quant_risk_analyzer.formats import formats_named

    formats_named(question.formats)
    if question.calibration is not None:
        read_text(question.calibration)
    elapsed_s = {}

    def timed(name: str, compute: Callable[[Tick], Any]) -> Any:
        started = time.perf_counter()
        with progress(name) as tick:
            answer = compute(tick)
        elapsed_s[name] = round(time.perf_counter() - started, 2)
        return answer

    model = timed("model", lambda tick: load_model(question.model))
    # A tied embedding is one parameter that stands under two names; `parameters` gives it once.
    count = sum(parameter.numel() for parameter in model.parameters())
    asked = question.for_model(model.max_context, count)
    # The stages that cost no time come first: whatever they refuse is refused at once.
    roofline = timed("roofline", lambda tick: roofline_stage(asked, model, tick))
    floor_s = roofline.fields["decode"]["total_time_s"]
    latency, request = timed("latency", lambda tick: latency_stage(asked, model, floor_s, tick))
    plan = timed("plan", lambda tick: plan_stage(asked, request, tick))
    compression = timed("compression", lambda tick: compression_stage(asked, model, tick))
    risk = timed("risk", lambda tick: risk_stage(asked, model, tick))
    stages = (risk, compression, roofline, latency, plan)
    answers = {stage.section.id: stage for stage in stages}
    return Chain(asked, answers, count, _quantized_source(question.model), elapsed_s)


def _quantized_source(model: str) -> str | None:
    """Names of the block formats of a GGUF file, which look like Q4_1 or IQ2_XS."""
    from checkpoint_lens import open_checkpoint

    dtypes = {tensor.dtype for tensor in open_checkpoint(model).tensors.values()}
    return ", ".join(sorted(dtype for dtype in dtypes if dtype.startswith(("Q", "IQ")))) or None
