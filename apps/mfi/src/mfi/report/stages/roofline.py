"""What limits prefill and decode on the named device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfi.report.page import Section
from mfi.report.question import Decided
from mfi.report.stages.stage import Stage, Tick
from mfi_command.report import Table

if TYPE_CHECKING:
    from checkpoint_lens import CausalLM

_TOP_OPERATORS = 8


def roofline_stage(question: Decided, model: CausalLM, tick: Tick) -> Stage:
    """What limits prefill and decode on the named device."""
    from roofline import analyze, draw_roofline

    phases = {}
    for done, (phase, sequence) in enumerate(
        (("prefill", question.prompt_tokens), ("decode", question.prompt_tokens + question.output_tokens))
    ):
        phases[phase] = analyze(
            model.config,
            device=question.device,
            batch=1,
            sequence=sequence,
            phase=phase,
            dtype=question.dtype,
        )
        tick(done + 1, 2)
    sentences = []
    tables = []
    for phase, analysis in phases.items():
        memory_s = sum(item.time_s for item in analysis.operators if item.bound == "memory")
        total_s = analysis.total_time_s
        side = "memory" if memory_s > total_s / 2 else "compute"
        sentences.append(
            f"{phase} is {side}-bound ({max(memory_s, total_s - memory_s) / total_s:.0%} of its floor of"
            f" {total_s * 1e3:.3g} ms)"
        )
        slowest = sorted(analysis.operators, key=lambda item: -item.time_s)[:_TOP_OPERATORS]
        tables.append(
            Table(
                f"{phase}: where the floor goes",
                ["operator", "FLOP", "bytes", "FLOP/byte", "bound", "time, us", "share"],
                [
                    [
                        item.operator.name,
                        item.operator.flop,
                        item.operator.bytes,
                        item.operator.intensity_flop_per_byte,
                        item.bound,
                        item.time_s * 1e6,
                        f"{item.time_s / total_s:.0%}",
                    ]
                    for item in slowest
                ],
            )
        )
    return Stage(
        Section(
            id="roofline",
            title=f"What limits it on {question.device}?",
            answer=f"At batch 1, {' and '.join(sentences)}.",
            how=(
                f"Exact FLOP and compulsory bytes of each operator in {question.dtype}, against the data"
                f" sheet of {question.device}. A floor: no stack is faster, real ones are slower (next"
                " section)."
            ),
            tables=tables,
            figures=[(f"Roofline of {phase}", draw_roofline(analysis)) for phase, analysis in phases.items()],
        ),
        {phase: analysis.to_dict() for phase, analysis in phases.items()},
    )
