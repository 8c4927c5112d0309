"""The first tier: a rating from the weights alone, read one at a time; the model is never built.

What a rounding error costs is not in the weight. The risk here is the layer's squared relative error times
what such an error cost in layers of its role in the study's models, at the level of a model that learned for
long: poor in its order within a role, and within a factor of ten in its sum. The report says so: confidence
"low", and the interval of the sum.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from mfi_command import BadInput
from quant_risk_analyzer.confidence import OF_TIER, damage_interval, top_decile_chances
from quant_risk_analyzer.fixes import Fix, fix_for
from quant_risk_analyzer.formats import Granularity, NumberFormat, formats_named
from quant_risk_analyzer.quantizers import quantize
from quant_risk_analyzer.ratings import Thresholds
from quant_risk_analyzer.reasons import channel_reasons
from quant_risk_analyzer.report import FormatRisk, LayerRisk, RiskReport
from quant_risk_analyzer.roles import role_of

TIER = "weights only"


@cache
def _costs() -> dict[str, float]:
    """Logarithm of KL / relative error^2 by role, "" for any other; from the study."""
    text = files("quant_risk_analyzer").joinpath("calibration.json").read_text(encoding="utf-8")
    found: dict[str, float] = json.loads(text)["weights_by_role"]
    return found


def weight_risk(relative_error: float, role: str) -> float:
    """Expected damage of a relative rounding error in a layer of this role, nats per token."""
    costs = _costs()
    return math.exp(costs.get(role, costs[""])) * relative_error**2


def rate_weights(
    model: str | Path,
    *,
    formats: Sequence[str] | str = ("int8", "int4"),
    granularity: Granularity = "channel",
    layers: str = "*",
    thresholds: Thresholds | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> RiskReport:
    """Rate every linear layer of a checkpoint from its weight alone, experts in stacks among them.

    Parameters
    ----------
    model
        Path or "reference"; no configuration is needed.
    formats, granularity, layers, thresholds
        As for `rate`.

    Returns
    -------
    RiskReport
        With the tier "weights only" and low confidence. The drift is NaN: `drifts` has it.

    Raises
    ------
    BadInput
        Unknown format, a glob that matches no linear layer, a NaN weight, a path that is no checkpoint.

    Notes
    -----
    Reads each tensor once; holds one layer and its rounding. O(weights x formats).
    """
    from checkpoint_lens import open_checkpoint, read_tensor, weight_matrices

    kinds, limits = formats_named(formats), thresholds or Thresholds()
    checkpoint = open_checkpoint(model)
    inventory = weight_matrices(checkpoint)
    tensors = [
        [each for each in matrices if fnmatchcase(each.name, layers)]
        for matrices in inventory.by_tensor().values()
    ]
    chosen = [each for matrices in tensors for each in matrices]
    if not chosen:
        raise BadInput(f"no linear layer of {model} matches {layers!r}: see `checkpoint-lens ls`")
    found: dict[str, dict[str, FormatRisk]] = {}
    for matrices in filter(None, tensors):
        values = read_tensor(checkpoint, matrices[0])
        for layer in matrices:
            weight = np.ascontiguousarray(layer.of(values), dtype=np.float32)
            role = role_of(layer.name)
            found[layer.name] = {kind.name: _rated(weight, kind, granularity, role, limits) for kind in kinds}
            if on_progress is not None:
                on_progress(len(found), len(chosen))
    chances = {
        kind.name: top_decile_chances({name: each[kind.name].risk for name, each in found.items()}, TIER)
        for kind in kinds
    }
    return RiskReport(
        layers=tuple(
            LayerRisk(
                name=layer.name,
                shape=layer.shape,
                role=role_of(layer.name),
                formats={
                    kind: _with_chance(each, chances[kind][layer.name], limits)
                    for kind, each in found[layer.name].items()
                },
                module=layer.name if layer.cut is None else layer.name.rpartition(".")[0],
            )
            for layer in chosen
        ),
        formats=tuple(kind.name for kind in kinds),
        granularity=granularity,
        tier=TIER,
        confidence=OF_TIER[TIER],
        tokens=0,
        context=0,
        probes=0,
        seed=0,
        thresholds=limits,
        rank_stability=dict.fromkeys((kind.name for kind in kinds), math.nan),
        unrated={each.tensor: each.parameters for each in inventory.left_out if _is_weight(each.reason)},
    )


def _is_weight(reason: str) -> bool:
    """Whether a tensor was left out that a reader would expect to be rated."""
    return reason.startswith("already quantized") or reason in ("table", "convolution")


def _rated(
    weight: np.ndarray[Any, Any], kind: NumberFormat, granularity: Granularity, role: str, limits: Thresholds
) -> FormatRisk:
    import torch

    quantized = quantize(weight, kind, granularity=granularity)
    risk = weight_risk(quantized.relative_error, role)
    error = quantized.dequantized - weight
    even = np.ones(weight.shape[1])
    reasons = channel_reasons(weight, error, outputs=(error.astype(np.float64) ** 2).sum(1), inputs=even)
    fix: Fix = fix_for(
        torch.from_numpy(weight),
        kind,
        granularity,
        role="",  # smoothing needs the size of the inputs
        inputs=even,
        risk=risk,
        grade=Thresholds(limits.safe, limits.risky).grade,
    )
    low, high = damage_interval(risk, TIER)
    return FormatRisk(
        risk=risk,
        risk_low=low,
        risk_high=high,
        rating=limits.grade(risk, math.nan),
        snr_db=quantized.snr_db,
        relative_error=quantized.relative_error,
        drift=math.nan,
        drift_measured=False,
        reasons=tuple(reasons) or ("from the size of the rounding error and the layer's role alone",),
        fix=fix.text,
        risk_after_fix=fix.risk,
        damage_low=low,
        damage_high=high,
    )


def _with_chance(found: FormatRisk, chance: float, limits: Thresholds) -> FormatRisk:
    return replace(found, top_decile=chance, rating=limits.grade(found.risk, chance))
