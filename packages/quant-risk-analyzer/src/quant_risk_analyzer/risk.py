"""`rate`: the expected damage of quantizing each layer alone, with an interval, a grade and reasons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from quant_risk_analyzer.agreement import spearman
from quant_risk_analyzer.confidence import (
    OF_TIER,
    damage_interval,
    edge_ratio,
    place_factors,
    top_decile_chances,
)
from quant_risk_analyzer.drift import measured_drift, predict_drift, singular_values
from quant_risk_analyzer.fixes import Fix, fix_for
from quant_risk_analyzer.formats import Granularity, NumberFormat, formats_named
from quant_risk_analyzer.gauss_newton import score_products
from quant_risk_analyzer.models import Model, device_of, opened
from quant_risk_analyzer.products import Products
from quant_risk_analyzer.quantizers import quantize, rounded
from quant_risk_analyzer.ratings import Thresholds
from quant_risk_analyzer.reasons import channel_reasons, comparison_reasons
from quant_risk_analyzer.report import FormatRisk, LayerRisk, RiskReport
from quant_risk_analyzer.sites import Site, chosen_sites, linear_sites, unrated
from quant_risk_analyzer.texts import windows_to_run

if TYPE_CHECKING:
    import torch

MEASURED_DRIFT_SIDE = 512  # spectra of wider layers cost more than the risk itself: their drift is predicted
EVEN = "no channel stands out: the error is spread over the layer"
UNSTABLE = 0.5  # rank correlation of two halves of the windows below which the order is mostly noise
NOISE_EDGE = 1.1  # times the edge of noise: a median below it is that of weights that learned nothing


def rate(
    model: Model,
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
) -> RiskReport:
    r"""Rate every linear layer by the damage that quantizing it alone would do.

    The risk is the Gauss-Newton estimate of the Kullback-Leibler divergence between the output distributions
    before and after, in nats per token, which is also the expected rise of the loss on text that the model
    itself would write:

    .. math:: \text{risk} = \frac{1}{2T}\, \mathbb E_y \Bigl(\sum_t g_t(y) \cdot \Delta W x_t\Bigr)^2.

    Without a calibration text it is multiplied by the calibrated `place_factors`.

    Parameters
    ----------
    model
        Path, "reference", or a causal language model with `linear_layers()`.
    formats
        Number formats to rate; one set of backward passes serves all.
    calibration
        Text to run the model on. Without it the model runs on its own samples: no data at all.
    granularity
        As for `quantize`.
    layers
        Glob of layer names; all by default.
    tokens
        Tokens to run, in windows of `context`: more of them narrow the interval like 1 / sqrt.
    context
        Length of a window; short windows give more independent samples, long ones more of the attention.
    probes
        Label draws per window, each one more backward pass.
    rounds
        Without a calibration text the model runs on what it writes itself, see `own_windows`: forward passes
        for it where the model keeps no keys and values, else one is enough; 0 leaves the token ids random.
    thresholds
        Limits of the grades.
    seed
        Of token ids and labels.
    on_progress
        Called with (done, total): windows, then layers.

    Returns
    -------
    RiskReport

    Raises
    ------
    BadInput
        Unknown format, no such layer, a calibration text shorter than two windows, a NaN weight, a layer that
        runs twice in one forward pass.

    Notes
    -----
    Cost for a token: one forward pass, `probes` backward passes without weight gradients, and a product with
    each layer for each format. The estimate is of second order: it holds while the damage is small, and
    underrates or overrates a layer that breaks the model (well above the threshold of C in any case).
    """
    network = opened(model)
    chosen = chosen_sites(network, layers)
    ids, tier = windows_to_run(network, calibration, tokens=tokens, context=context, rounds=rounds, seed=seed)
    return rate_windows(
        network,
        ids,
        chosen,
        kinds=formats_named(formats),
        granularity=granularity,
        tier=tier,
        probes=probes,
        limits=thresholds or Thresholds(),
        seed=seed,
        on_progress=on_progress,
    )


def rate_windows(
    network: Any,
    ids: torch.Tensor,
    chosen: Mapping[str, Site],
    *,
    kinds: Sequence[NumberFormat],
    granularity: Granularity,
    tier: str,
    probes: int,
    limits: Thresholds,
    seed: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> RiskReport:
    """`rate` on given windows of token ids, int64 (windows, length)."""
    context, steps = int(ids.shape[1]), len(ids) + len(chosen)

    def windows_done(done: int, total: int) -> None:
        if on_progress is not None:
            on_progress(done, steps)

    products = score_products(
        network,
        ids.to(device_of(network)),
        lambda name: errors_of(chosen[name].weight, kinds, granularity),
        chosen,
        probes=probes,
        seed=seed,
        on_progress=windows_done,
    )
    factors = place_factors(list(linear_sites(network)), tier)
    samples = {name: factors[name] * found.scores**2 / (2 * context) for name, found in products.items()}
    facts = {}
    for done, (name, site) in enumerate(chosen.items(), 1):
        risks = samples[name].mean((1, 2))
        facts[name] = _facts(site, products[name], risks, kinds, granularity, limits)
        if on_progress is not None:
            on_progress(len(ids) + done, steps)
    rated = {
        kind.name: _format_risks(
            {name: (samples[name][at], facts[name].formats[at]) for name in chosen}, limits, tier
        )
        for at, kind in enumerate(kinds)
    }
    stability = {
        kind.name: _stability([each[at] for each in samples.values()]) for at, kind in enumerate(kinds)
    }
    caveats = _caveats([each.edge_ratio for each in facts.values()], stability)
    return RiskReport(
        layers=tuple(
            LayerRisk(
                name=name,
                shape=site.shape,
                role=site.role,
                formats={kind.name: rated[kind.name][name] for kind in kinds},
                module=site.module_name,
                spectrum=facts[name].spectrum,
            )
            for name, site in chosen.items()
        ),
        formats=tuple(kind.name for kind in kinds),
        granularity=granularity,
        tier=tier,
        confidence="none" if caveats else OF_TIER[tier],
        tokens=ids.numel(),
        context=context,
        probes=probes,
        seed=seed,
        thresholds=limits,
        rank_stability=stability,
        caveats=caveats,
        unrated=unrated(network),
    )


def _caveats(edge_ratios: Sequence[float], stability: Mapping[str, float]) -> tuple[str, ...]:
    """Why the order of the layers deserves no confidence; empty when nothing speaks against it."""
    found = []
    median = float(np.median(edge_ratios))
    if median < NOISE_EDGE:
        found.append(
            f"the weights look random: the median layer's largest singular value is {median:.2f} times that "
            "of noise of its size; was this model trained?"
        )
    shaky = {name: rho for name, rho in stability.items() if rho < UNSTABLE}
    if shaky:
        worst = min(shaky, key=lambda name: shaky[name])
        found.append(
            f"the order is mostly noise: two halves of the windows agree with a rank correlation of "
            f"{shaky[worst]:.2f} at {worst}; rate more tokens"
        )
    return tuple(found)


@dataclass(frozen=True)
class _FormatFacts:
    """What the weight, its inputs and its gradients say about one format."""

    relative_error: float
    snr_db: float
    drift: float
    drift_measured: bool
    reasons: list[str]
    fix: Fix


@dataclass(frozen=True)
class _Facts:
    """One layer: its spectrum, and the facts of each format."""

    spectrum: tuple[float, ...]
    edge_ratio: float
    formats: list[_FormatFacts]


def _facts(
    site: Site,
    found: Products,
    risks: np.ndarray[Any, Any],
    kinds: Sequence[NumberFormat],
    granularity: Granularity,
    limits: Thresholds,
) -> _Facts:
    weight = site.weight.float().cpu()
    spectrum = singular_values(weight)
    measurable = min(weight.shape) <= MEASURED_DRIFT_SIDE
    facts = []
    for at, kind in enumerate(kinds):
        quantized = quantize(weight, kind, granularity=granularity)
        if measurable:
            drift = measured_drift(weight, quantized.dequantized, spectrum=spectrum)
        else:
            drift = predict_drift(weight, kind, granularity=granularity, spectrum=spectrum)
        sentences = channel_reasons(
            weight.numpy(),
            (quantized.dequantized - weight).numpy(),
            outputs=found.channels[at],
            inputs=found.inputs,
        )
        fix = fix_for(
            weight,
            kind,
            granularity,
            role=site.role,
            inputs=found.inputs,
            risk=float(risks[at]),
            grade=Thresholds(limits.safe, limits.risky).grade,
        )
        facts.append(
            _FormatFacts(quantized.relative_error, quantized.snr_db, drift, measurable, sentences, fix)
        )
    return _Facts(tuple(spectrum.tolist()), edge_ratio(spectrum, site.shape), facts)


def _format_risks(
    layers: Mapping[str, tuple[np.ndarray[Any, Any], _FormatFacts]], limits: Thresholds, tier: str
) -> dict[str, FormatRisk]:
    """Risks of all layers in one format; the sentences compare each with the median layer."""
    intervals = {name: interval(samples) for name, (samples, _) in layers.items()}
    chances = top_decile_chances({name: found[0] for name, found in intervals.items()}, tier)
    noises = {name: facts.relative_error for name, (_, facts) in layers.items()}
    costs = {name: intervals[name][0] / noises[name] ** 2 if noises[name] else 0.0 for name in layers}
    noise, cost = float(np.median(list(noises.values()))), float(np.median(list(costs.values())))
    risks = {}
    for name, (_, facts) in layers.items():
        risk, low, high = intervals[name]
        damage_low, damage_high = damage_interval(risk, tier)
        compared = comparison_reasons(
            sensitivity=costs[name] / cost if cost else 0.0, noise=noises[name] / noise if noise else 0.0
        )
        risks[name] = FormatRisk(
            risk=risk,
            risk_low=low,
            risk_high=high,
            rating=limits.grade(risk, chances[name]),
            snr_db=facts.snr_db,
            relative_error=facts.relative_error,
            drift=facts.drift,
            drift_measured=facts.drift_measured,
            reasons=tuple(compared + facts.reasons) or (EVEN,),
            top_decile=chances[name],
            fix=facts.fix.text,
            risk_after_fix=facts.fix.risk,
            damage_low=damage_low,
            damage_high=damage_high,
        )
    return risks


def _stability(layers: list[np.ndarray[Any, Any]]) -> float:
    """Rank correlation between the risks of even and of odd windows: 1 where the order is not noise."""
    if len(layers) < 3 or layers[0].shape[0] < 2:
        return float("nan")
    return spearman([each[::2].mean() for each in layers], [each[1::2].mean() for each in layers])


def errors_of(weight: torch.Tensor, kinds: Sequence[NumberFormat], granularity: Granularity) -> torch.Tensor:
    """Rounding errors of a weight in each format, float32 (formats, out, in)."""
    import torch

    full = weight.detach()
    return torch.stack([(rounded(full, kind, granularity) - full).float() for kind in kinds])


def interval(samples: np.ndarray[Any, Any]) -> tuple[float, float, float]:
    r"""Mean of samples (windows, probes) with its 95 % interval, (mean, low, high).

    The windows are the independent draws. The interval is symmetric in the logarithm,
    :math:`m \exp(\pm 1.96\, s / m)`: a risk is positive, and its estimate is skewed.
    """
    windows = samples.mean(axis=1)
    mean = float(windows.mean())
    if mean <= 0 or len(windows) < 2:
        return mean, 0.0 if mean <= 0 else float("nan"), 0.0 if mean <= 0 else float("nan")
    spread = float(windows.std(ddof=1)) / len(windows) ** 0.5 / mean
    return mean, mean * float(np.exp(-1.96 * spread)), mean * float(np.exp(1.96 * spread))
