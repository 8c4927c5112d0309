"""What `rate` and `allocate` share: a model, rated as the options say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfi_command.cli import progress

if TYPE_CHECKING:
    from quant_risk_analyzer.ratings import Thresholds
    from quant_risk_analyzer.report import RiskReport


def rated(
    model: str,
    formats: str,
    calibration: str | None,
    granularity: str,
    layers: str,
    tokens: int,
    limits: Thresholds | None,
    seed: int,
) -> RiskReport:
    """Rate the layers of a model, with a progress bar."""
    from checkpoint_lens import read_text
    from quant_risk_analyzer.risk import rate as compute

    text = None if calibration is None else read_text(calibration)
    with progress("risk") as tick:
        return compute(
            model,
            formats=formats,
            calibration=text,
            granularity=granularity,
            layers=layers,
            tokens=tokens,
            thresholds=limits,
            seed=seed,
            on_progress=tick,
        )
