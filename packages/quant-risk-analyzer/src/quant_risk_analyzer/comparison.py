"""`compare`: what a fine-tune made riskier, on the same tokens and with the same draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from mfi_command import BadInput
from quant_risk_analyzer.formats import Granularity, formats_named
from quant_risk_analyzer.models import Model, opened
from quant_risk_analyzer.ratings import Thresholds
from quant_risk_analyzer.report import FormatRisk, RiskReport
from quant_risk_analyzer.risk import rate_windows
from quant_risk_analyzer.sites import chosen_sites
from quant_risk_analyzer.texts import windows_to_run


@dataclass(frozen=True)
class Change:
    """One layer in one format, before and after.

    Attributes
    ----------
    name, format
        Which.
    risk_before, risk_after
        Nats per token.
    rating_before, rating_after
        Grades.
    factor
        `risk_after / risk_before`.
    certain
        The two 95 % intervals do not overlap.
    """

    name: str
    format: str
    risk_before: float
    risk_after: float
    rating_before: str
    rating_after: str
    factor: float
    certain: bool

    @property
    def worse(self) -> bool:
        """The grade fell."""
        return self.rating_after > self.rating_before

    def to_dict(self) -> dict[str, object]:
        """As a plain dictionary."""
        return {**asdict(self), "worse": self.worse}


@dataclass(frozen=True)
class Comparison:
    """All changes, the largest factor first, the two ratings, and layers that only one model has."""

    changes: tuple[Change, ...]
    before: RiskReport
    after: RiskReport
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """As a plain dictionary."""
        return {
            "changes": [each.to_dict() for each in self.changes],
            "only_before": list(self.only_before),
            "only_after": list(self.only_after),
            "tier": self.after.tier,
            "confidence": self.after.confidence,
        }


def compare(
    before: Model,
    after: Model,
    *,
    formats: Sequence[str] | str = ("int8", "int4"),
    calibration: str | None = None,
    granularity: Granularity = "channel",
    layers: str | None = None,
    tokens: int = 4096,
    context: int = 64,
    probes: int = 4,
    rounds: int = 4,
    thresholds: Thresholds | None = None,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Rate two checkpoints of one architecture on the same windows and list what changed.

    Parameters
    ----------
    before, after
        The two models; without a calibration text both run on samples of the first.
    formats, calibration, granularity, layers, tokens, context, probes, rounds, thresholds, seed
        As for `rate`.

    Raises
    ------
    BadInput
        As `rate`; if the vocabularies differ or no layer is in both.
    """
    models = [opened(before), opened(after)]
    if models[0].vocab_size != models[1].vocab_size:
        sizes = " and ".join(str(model.vocab_size) for model in models)
        raise BadInput(f"vocabularies of {sizes} tokens: expected two checkpoints of one architecture")
    ids, tier = windows_to_run(
        models[0], calibration, tokens=tokens, context=context, rounds=rounds, seed=seed
    )
    reports = []
    for turn, model in enumerate(models):
        chosen = chosen_sites(model, layers)
        steps = len(ids) + len(chosen)
        reports.append(
            rate_windows(
                model,
                ids,
                chosen,
                kinds=formats_named(formats),
                granularity=granularity,
                tier=tier,
                probes=probes,
                limits=thresholds or Thresholds(),
                seed=seed,
                on_progress=_part(on_progress, turn * steps, 2 * steps),
            )
        )
    return compared(*reports)


def compared(before: RiskReport, after: RiskReport) -> Comparison:
    """The changes between two ratings of the same formats."""
    first = {layer.name: layer.formats for layer in before.layers}
    second = {layer.name: layer.formats for layer in after.layers}
    common = [name for name in first if name in second]
    if not common:
        raise BadInput("the two models have no layer of the same name: expected one architecture")
    changes = [
        _change(name, kind, first[name][kind], second[name][kind])
        for name in common
        for kind in before.formats
        if kind in second[name]
    ]
    return Comparison(
        changes=tuple(sorted(changes, key=lambda each: -each.factor)),
        before=before,
        after=after,
        only_before=tuple(name for name in first if name not in second),
        only_after=tuple(name for name in second if name not in first),
    )


def _change(name: str, kind: str, before: FormatRisk, after: FormatRisk) -> Change:
    factor = after.risk / before.risk if before.risk else math.inf if after.risk else 1.0
    certain = after.risk_low > before.risk_high or after.risk_high < before.risk_low
    return Change(name, kind, before.risk, after.risk, before.rating, after.rating, factor, certain)


def _part(
    on_progress: Callable[[int, int], None] | None, start: int, total: int
) -> Callable[[int, int], None] | None:
    if on_progress is None:
        return None
    return lambda done, _: on_progress(start + done, total)
