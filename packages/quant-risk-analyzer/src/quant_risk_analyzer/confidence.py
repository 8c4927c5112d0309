"""How far a rating can be trusted: chances from the study's calibration, and models that have no order."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from quant_risk_analyzer.roles import places

LEVELS = ("none", "low", "medium", "high")
OF_TIER = {"weights only": "low", "random tokens": "low", "own samples": "medium", "calibration text": "high"}


@dataclass(frozen=True)
class TierCalibration:
    """What the study found for one tier, fitted on half of its models and judged on the others.

    Attributes
    ----------
    intercept, slope
        Of the logit of the chance to be in the worst tenth, in the logarithm of risk / (risk at the border of
        the predicted worst tenth).
    log_bias, log_deviation
        Median and robust standard deviation of log(measured / predicted).
    log_low, log_high
        The 2.5 % and 97.5 % quantiles of log(measured / predicted) in the models that fitted.
    coverage
        Part of the judged layers whose damage lies between them.
    brier, brier_of_base_rate
        On the models that the fit did not see; the second is that of answering 0.1 always.
    share_in_c, share_in_a
        Of the judged layers graded by rank: how many of C and of A truly are in the worst tenth.
    layers_in_c, layers_in_a, layers_judged
        How many these are.
    sum_log_low, sum_log_high
        95 % interval of log(summed damage / summed risk) of a model, from the models that fitted.
    sum_coverage
        Part of the judged models and formats whose sum lies between them.
    place_intercept, place_slope
        Of log(measured / sampled) over the place of a layer, see `place_factors`; 0 where a text was read.
    models_fitted, models_judged
        How many models.
    """

    intercept: float
    slope: float
    log_bias: float
    log_deviation: float
    log_low: float
    log_high: float
    coverage: float
    brier: float
    brier_of_base_rate: float
    share_in_c: float
    share_in_a: float
    layers_in_c: int
    layers_in_a: int
    layers_judged: int
    sum_log_low: float
    sum_log_high: float
    sum_coverage: float
    place_intercept: float
    place_slope: float
    models_fitted: int
    models_judged: int


@cache
def calibrations() -> Mapping[str, TierCalibration]:
    """By tier; written by `benchmarks/calibrate.py` from the study's measurements."""
    text = files("quant_risk_analyzer").joinpath("calibration.json").read_text(encoding="utf-8")
    return {tier: TierCalibration(**found) for tier, found in json.loads(text)["tiers"].items()}


def place_factors(names: Sequence[str], tier: str) -> dict[str, float]:
    """What the risk of each layer is multiplied by, for the names of all layers in the order of the model.

    What a model reads without data is not text: the first layers look too risky and the last ones not risky
    enough. The factor is exp(intercept + slope * place) with the place 0 in the first block and 1 in the
    last, fitted on models of the study.
    """
    fit = calibrations()[tier]
    return {
        name: math.exp(fit.place_intercept + fit.place_slope * place)
        for name, place in zip(names, places(names), strict=True)
    }


def border_of_worst(risks: np.ndarray[Any, Any]) -> float:
    """Risk between the worst tenth (at least one) and the rest, the geometric mean of the two neighbours."""
    ordered = np.sort(np.maximum(risks, np.finfo(float).tiny))[::-1]
    count = max(1, round(len(ordered) / 10))
    after = ordered[min(count, len(ordered) - 1)]
    return float(math.sqrt(ordered[count - 1]) * math.sqrt(after))


def top_decile_chances(risks: Mapping[str, float], tier: str) -> dict[str, float]:
    """The chance of each layer to be in the worst tenth of the measured damage of its model and format.

    NaN below three layers: nothing is a tenth of them.
    """
    if len(risks) < 3:
        return dict.fromkeys(risks, math.nan)
    fit = calibrations()[tier]
    values = np.maximum(np.array(list(risks.values())), np.finfo(float).tiny)
    logit = fit.intercept + fit.slope * (np.log(values) - math.log(border_of_worst(values)))
    return dict(zip(risks, (0.5 * (1 + np.tanh(logit / 2))).tolist(), strict=True))


def damage_interval(risk: float, tier: str) -> tuple[float, float]:
    """Where the damage measured on another text lies in 95 % of the study's layers, nats per token."""
    fit = calibrations()[tier]
    return risk * math.exp(fit.log_low), risk * math.exp(fit.log_high)


def sum_interval(total: float, tier: str) -> tuple[float, float]:
    """Where the summed damage of all layers, each measured alone, lies in 95 % of the study's models."""
    fit = calibrations()[tier]
    return total * math.exp(fit.sum_log_low), total * math.exp(fit.sum_log_high)


def edge_ratio(spectrum: np.ndarray[Any, Any], shape: tuple[int, int]) -> float:
    """Largest singular value over the largest that independent entries of this size would have.

    Independent entries of variance v give at most sqrt(v) (sqrt(m) + sqrt(n)) as m and n grow (Marchenko and
    Pastur; Bai and Yin 1988).
    """
    rows, columns = shape
    total = float((np.asarray(spectrum, dtype=np.float64) ** 2).sum())
    edge = math.sqrt(total / (rows * columns)) * (math.sqrt(rows) + math.sqrt(columns))
    return float(spectrum[0]) / edge if edge else 0.0
