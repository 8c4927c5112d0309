"""Which layers can be quantized."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mfi.report.page import Section
from mfi.report.question import Decided
from mfi.report.stages.stage import Stage, Tick
from mfi_command.report import Table

if TYPE_CHECKING:
    from checkpoint_lens import CausalLM
    from quant_risk_analyzer import RiskReport


def risk_stage(question: Decided, model: CausalLM, tick: Tick) -> Stage:
    """Which layers can be quantized."""
    from checkpoint_lens import read_text
    from quant_risk_analyzer import rate

    report = rate(
        model,
        formats=question.formats,
        calibration=read_text(question.calibration) if question.calibration else None,
        tokens=question.tokens,
        seed=question.seed,
        on_progress=tick,
    )
    last = question.formats[-1]
    ordered = sorted(report.layers, key=lambda layer: -layer.formats[last].risk)
    columns = ["layer", "shape"]
    for name in question.formats:
        columns += [name, f"{name} risk, nats/token"]
    columns += [f"{last} 95 % interval", f"{last} SNR, dB", f"why, at {last}"]
    rows = []
    for layer in ordered:
        row: list[object] = [layer.name, "x".join(map(str, layer.shape))]
        for name in question.formats:
            row += [layer.formats[name].rating, layer.formats[name].risk]
        worst = layer.formats[last]
        row += [f"{worst.risk_low:.2g} to {worst.risk_high:.2g}", worst.snr_db, "; ".join(worst.reasons)]
        rows.append(row)
    return Stage(
        Section(
            id="risk",
            title="What can be quantized?",
            answer=_risk_answer(report, question.formats),
            how=(
                "Gauss-Newton estimate of the KL divergence of the next-token distribution when one layer"
                f" alone is quantized, on {report.tokens} tokens ({report.tier}), {report.probes} label"
                f" draws a window; confidence of the ranking: {report.confidence}. A costs less than"
                f" {report.thresholds.safe:g}, C more than {report.thresholds.risky:g} nats per token."
                " Intervals are 95 %, over windows."
            ),
            tables=[Table(f"Layers, worst at {last} first", columns, rows)],
            figures=_risk_figures(report, last),
        ),
        report.to_dict(),
    )


def _risk_answer(report: RiskReport, formats: Sequence[str]) -> str:
    parts = []
    sums: Any = report.summary["formats"]
    for name in formats:
        safe, between, risky = (report.graded(grade, format=name) for grade in "ABC")
        part = f"{name}: {len(safe)} of {len(report.layers)} layers are safe"
        if between:
            part += f", {len(between)} cost a little"
        part += f", {len(risky)} would hurt ({_some(risky)})" if risky else ", none would hurt"
        found = sums[name]
        parts.append(
            f"{part}; all risks add up to {found['total_risk']:.2g} nats per token (measured, at 95 %:"
            f" {found['total_damage_low']:.2g} to {found['total_damage_high']:.2g})"
        )
    return ". ".join(parts) + "."


def _some(names: Sequence[str], shown: int = 3) -> str:
    rest = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + rest


def _risk_figures(report: RiskReport, format: str) -> list[tuple[str, Any]]:
    from mfi.report.figures import risk_map

    cells = {}
    roles: list[str] = []
    for layer in report.layers:
        block = re.search(r"\.(\d+)\.", layer.name)
        if block is None:
            continue
        cells[int(block.group(1)), layer.role] = (layer.formats[format].risk, layer.formats[format].rating)
        if layer.role not in roles:
            roles.append(layer.role)
    if not cells:
        return []
    title = f"Risk of {format}, layer by layer"
    return [(title, risk_map(cells, roles, title))]
