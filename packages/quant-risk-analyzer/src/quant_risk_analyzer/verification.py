"""`verify`: quantize some layers for real, and say how well the rating ranked them on this model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mfi_command import BadInput
from quant_risk_analyzer.agreement import bootstrap_interval, spearman
from quant_risk_analyzer.formats import formats_named
from quant_risk_analyzer.models import Model, opened
from quant_risk_analyzer.report import RiskReport
from quant_risk_analyzer.sites import chosen_sites
from quant_risk_analyzer.texts import own_windows, refuse_same, text_windows
from quant_risk_analyzer.truth import LayerDamage, measure_windows

LEAST = 3  # layers: fewer have no order to compare
ROUNDS = 8


@dataclass(frozen=True)
class RankCheck:
    """Spearman's rho between risk and measured KL in one format, its 95 % interval over the layers drawn."""

    rank_correlation: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """As a plain dictionary."""
        return asdict(self)


@dataclass(frozen=True)
class Verification:
    """What a rating was worth on this model.

    Attributes
    ----------
    checks
        By format.
    damages
        The measured layers, nats per token.
    tokens
        Tokens of unseen text they were measured on.
    text
        "evaluation text", or "fresh own samples" where none was given.
    """

    checks: Mapping[str, RankCheck]
    damages: tuple[LayerDamage, ...]
    tokens: int
    text: str

    def to_dict(self) -> dict[str, object]:
        """As a plain dictionary."""
        return {
            "formats": {name: check.to_dict() for name, check in self.checks.items()},
            "layers": [each.to_dict() for each in self.damages],
            "tokens": self.tokens,
            "text": self.text,
        }


def verify(
    model: Model,
    report: RiskReport,
    *,
    count: int,
    evaluation: str | None = None,
    calibration: str | None = None,
    max_tokens: int = 2048,
    context: int = 128,
    on_progress: Callable[[int, int], None] | None = None,
) -> Verification:
    """Quantize `count` layers, one at a time, and compare the order of the damage with that of the risk.

    Parameters
    ----------
    model
        The one that was rated.
    report
        From `rate`.
    count
        Layers to quantize, at least 3, spread evenly over the order of the risks.
    evaluation
        Text to measure on; without one, fresh samples of the model itself.
    calibration
        The text of the rating: refused as evaluation.
    max_tokens, context
        Tokens to measure on, and the length of a window.

    Raises
    ------
    BadInput
        Fewer than 3 layers; an evaluation text that the rating has seen, or one shorter than a window.

    Notes
    -----
    Cost: one forward pass for each layer and format.
    """
    names = spread_over(report, count)
    network = opened(model)
    windows = max(1, max_tokens // context)
    if evaluation is None:
        ids = own_windows(network, windows=windows, length=context + 1, seed=report.seed + 1, rounds=ROUNDS)
    else:
        if calibration is not None:
            refuse_same(calibration, evaluation)
        ids = text_windows(network, evaluation, windows=windows, length=context + 1)
    found = measure_windows(
        network,
        ids,
        chosen_sites(network, names),
        kinds=formats_named(report.formats),
        granularity=report.granularity,
        on_progress=on_progress,
    )
    return Verification(
        checks={name: _check(report.risks(name), found.kl(name)) for name in report.formats},
        damages=found.layers,
        tokens=found.tokens,
        text="evaluation text" if evaluation is not None else "fresh own samples",
    )


def spread_over(report: RiskReport, count: int) -> list[str]:
    """Names of `count` layers, evenly over the order of their risks (in the last format)."""
    if count < LEAST:
        raise BadInput(f"{count} layers have no order to verify: expected at least {LEAST}")
    risks = report.risks(report.formats[-1])
    ordered = sorted(risks, key=lambda name: risks[name])
    places = np.unique(np.linspace(0, len(ordered) - 1, count).round().astype(int))
    if len(places) < LEAST:
        raise BadInput(f"{len(ordered)} layers were rated: expected at least {LEAST} to verify an order")
    return [ordered[at] for at in places]


def _check(risks: Mapping[str, float], damages: Mapping[str, float]) -> RankCheck:
    pairs: np.ndarray[Any, Any] = np.array([[risks[name], damage] for name, damage in damages.items()])
    low, high = bootstrap_interval(pairs)
    return RankCheck(spearman(pairs[:, 0], pairs[:, 1]), low, high)
