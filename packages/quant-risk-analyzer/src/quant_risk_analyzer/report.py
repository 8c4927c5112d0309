"""What `rate` answers: plain data, in nats per token and fractions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from quant_risk_analyzer.confidence import sum_interval
from quant_risk_analyzer.formats import Granularity
from quant_risk_analyzer.ratings import Thresholds


@dataclass(frozen=True)
class FormatRisk:
    """One layer in one format.

    Attributes
    ----------
    risk, risk_low, risk_high
        Expected rise of the loss when this layer alone is quantized, nats per token, and its 95 % interval
        from the spread over the windows.
    rating
        A, B or C by the thresholds of the report.
    snr_db, relative_error
        Of the weight: `20 log10(||W|| / ||W - Q||)` and `||W - Q|| / ||W||`.
    drift, drift_measured
        Largest relative change over the top half of the singular values, a fraction; measured, or predicted
        from the step (wide layers).
    reasons
        Sentences with numbers of this layer.
    top_decile
        Calibrated chance that the layer is in the worst tenth of its model in this format.
    damage_low, damage_high
        Where the measured damage on another text lies in 95 % of the layers of the study's models: the
        distance between texts, and between the estimate and the truth, is in it.
    fix, risk_after_fix
        The cheapest change that helps ("none needed" for a layer that is safe), and the risk it leaves.
    """

    risk: float
    risk_low: float
    risk_high: float
    rating: str
    snr_db: float
    relative_error: float
    drift: float
    drift_measured: bool
    reasons: tuple[str, ...]
    top_decile: float = math.nan
    fix: str = ""
    risk_after_fix: float = math.nan
    damage_low: float = math.nan
    damage_high: float = math.nan

    def to_dict(self) -> dict[str, object]:
        """As a plain dictionary."""
        return asdict(self)


@dataclass(frozen=True)
class LayerRisk:
    """One layer, rated in each format.

    Attributes
    ----------
    name, shape, role
        Path, (out, in) and what it does in its block.
    formats
        Its risk by format.
    module
        Path of the module that holds it: shorter than `name` where q, k and v are stored in one.
    spectrum
        Singular values, largest first; not in `to_dict`.
    """

    name: str
    shape: tuple[int, int]
    role: str
    formats: Mapping[str, FormatRisk]
    module: str = ""
    spectrum: tuple[float, ...] = field(default=(), repr=False)

    def to_dict(self) -> dict[str, object]:
        """As a plain dictionary."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "role": self.role,
            "module": self.module or self.name,
            "formats": {name: risk.to_dict() for name, risk in self.formats.items()},
        }


@dataclass(frozen=True)
class RiskReport:
    """Every layer, rated.

    Attributes
    ----------
    layers
        In the order of the model.
    formats, granularity
        What was rated.
    tier, confidence
        Where the activations came from ("random tokens", the model's "own samples" or a "calibration text"),
        and what the order deserves: "none", "low", "medium" or "high".
    tokens, context, probes, seed
        How the risk was sampled.
    thresholds
        Limits of the grades.
    rank_stability
        By format: Spearman's rho between the risks from the even and from the odd windows. Near 1 the order
        is not noise; it does not say that the order is right.
    unrated
        Elements of weights that no site holds, by name: experts in one tensor of three axes, for instance.
    caveats
        Why the order deserves no confidence at all: `confidence` is "none" then.
    """

    layers: tuple[LayerRisk, ...]
    formats: tuple[str, ...]
    granularity: Granularity
    tier: str
    confidence: str
    tokens: int
    context: int
    probes: int
    seed: int
    thresholds: Thresholds
    rank_stability: Mapping[str, float]
    caveats: tuple[str, ...] = ()
    unrated: Mapping[str, int] = field(default_factory=dict)

    def risks(self, format: str) -> dict[str, float]:
        """Risk by layer name for one format."""
        return {layer.name: layer.formats[format].risk for layer in self.layers}

    def graded(self, grade: str, *, format: str | None = None) -> list[str]:
        """Names of the layers with this grade, in one format or in any."""
        wanted = self.formats if format is None else (format,)
        return [
            layer.name for layer in self.layers if any(layer.formats[each].rating == grade for each in wanted)
        ]

    @property
    def denylist(self) -> list[str]:
        """Names of the layers rated C in any of the formats: leave them in full precision."""
        return self.graded("C")

    @property
    def summary(self) -> dict[str, object]:
        """Counts of the grades, summed risk, and a sentence for each format."""
        by_format = {each: self._summary(each) for each in self.formats}
        return {
            "text": " ".join([*(str(each["text"]) for each in by_format.values()), *self._left_out()]),
            "layers": len(self.layers),
            "parameters": sum(layer.shape[0] * layer.shape[1] for layer in self.layers),
            "formats": by_format,
        }

    def _left_out(self) -> list[str]:
        if not self.unrated:
            return []
        return [
            f"Not rated: {sum(self.unrated.values())} parameters in {len(self.unrated)} tensors that are "
            "no linear "
            f"layer of their own, the first is {next(iter(self.unrated))}."
        ]

    def _summary(self, format: str) -> dict[str, object]:
        grades = Counter(layer.formats[format].rating for layer in self.layers)
        total = sum(self.risks(format).values())
        low, high = sum_interval(total, self.tier)
        text = (
            f"{format}: {grades['A']} layers rated A, {grades['B']} B, {grades['C']} C; the risks of all "
            f"{len(self.layers)} layers add up to {total:.2g} nats per token (the measured sum, at 95 %: "
            f"{low:.2g} to {high:.2g})."
        )
        return {
            "text": text,
            "A": grades["A"],
            "B": grades["B"],
            "C": grades["C"],
            "total_risk": total,
            "total_damage_low": low,
            "total_damage_high": high,
            "denylist": self.graded("C", format=format),
            "rank_stability": self.rank_stability[format],
        }

    def to_dict(self) -> dict[str, object]:
        """As a plain dictionary: the fields of `quant-risk-analyzer rate --json`."""
        return {
            "tier": self.tier,
            "confidence": self.confidence,
            "caveats": list(self.caveats),
            "unrated": dict(self.unrated),
            "granularity": self.granularity,
            "tokens": self.tokens,
            "context": self.context,
            "probes": self.probes,
            "thresholds": asdict(self.thresholds),
            "layers": [layer.to_dict() for layer in self.layers],
            "denylist": self.denylist,
            "summary": self.summary,
        }
