"""`rate`: the expected damage of quantizing each layer alone, with an interval, a grade and reasons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from quant_risk_analyzer.agreement import spearman
from quant_risk_analyzer.drift import measured_drift, predict_drift, singular_values
from quant_risk_analyzer.formats import Granularity, NumberFormat, formats_named
from quant_risk_analyzer.gauss_newton import Products, score_products
from quant_risk_analyzer.models import Model, device_of, opened
from quant_risk_analyzer.quantizers import quantize, rounded
from quant_risk_analyzer.ratings import Thresholds
from quant_risk_analyzer.reasons import channel_reasons, comparison_reasons
from quant_risk_analyzer.report import FormatRisk, LayerRisk, RiskReport
from quant_risk_analyzer.sites import chosen_sites
from quant_risk_analyzer.texts import own_windows, text_windows

if TYPE_CHECKING:
    import torch

MEASURED_DRIFT_SIDE = 512  # spectra of wider layers cost more than the risk itself: their drift is predicted
TIERS = {
    (False, False): "random tokens",
    (False, True): "own samples",
    (True, False): "calibration text",
    (True, True): "calibration text",
}
EVEN = "no channel stands out: the error is spread over the layer"


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
        Without a calibration text: forward passes that turn random token ids into samples of the model,
        see `own_windows`; 0 leaves them random.
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
        Unknown format, no such layer, a calibration text shorter than one window, a NaN weight, a layer that
        runs twice in one forward pass.

    Notes
    -----
    Cost for a token: one forward pass, `probes` backward passes without weight gradients, and a product with
    each layer for each format. The estimate is of second order: it holds while the damage is small, and
    underrates or overrates a layer that breaks the model (well above the threshold of C in any case).
    """
    kinds = formats_named(formats)
    limits = thresholds or Thresholds()
    network = opened(model)
    chosen = chosen_sites(network, layers)
    count = max(1, tokens // context)
    if calibration is None:
        ids = own_windows(network, windows=count, length=context, seed=seed, rounds=rounds)
    else:
        ids = text_windows(network, calibration, windows=count, length=context)
    steps = len(ids) + len(chosen)

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
    samples = {name: found.scores**2 / (2 * context) for name, found in products.items()}
    facts = {}
    for done, (name, layer) in enumerate(chosen.items(), 1):
        facts[name] = _facts(layer.weight.float().cpu(), products[name], kinds, granularity)
        if on_progress is not None:
            on_progress(len(ids) + done, steps)
    rated = {
        kind.name: _format_risks({name: (samples[name][at], facts[name][at]) for name in chosen}, limits)
        for at, kind in enumerate(kinds)
    }
    return RiskReport(
        layers=tuple(
            LayerRisk(
                name=name,
                shape=layer.shape,
                role=layer.role,
                formats={kind.name: rated[kind.name][name] for kind in kinds},
            )
            for name, layer in chosen.items()
        ),
        formats=tuple(kind.name for kind in kinds),
        granularity=granularity,
        tier=TIERS[calibration is not None, rounds > 0],
        confidence="high" if calibration is not None else "medium" if rounds else "low",
        tokens=ids.numel(),
        context=context,
        probes=probes,
        seed=seed,
        thresholds=limits,
        rank_stability={
            kind.name: _stability([each[at] for each in samples.values()]) for at, kind in enumerate(kinds)
        },
    )


@dataclass(frozen=True)
class _Facts:
    """What the weight alone says about one format."""

    relative_error: float
    snr_db: float
    drift: float
    drift_measured: bool
    reasons: list[str]


def _facts(
    weight: torch.Tensor, found: Products, kinds: Sequence[NumberFormat], granularity: Granularity
) -> list[_Facts]:
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
        facts.append(_Facts(quantized.relative_error, quantized.snr_db, drift, measurable, sentences))
    return facts


def _format_risks(
    layers: Mapping[str, tuple[np.ndarray[Any, Any], _Facts]], limits: Thresholds
) -> dict[str, FormatRisk]:
    """Risks of all layers in one format; the sentences compare each with the median layer."""
    intervals = {name: interval(samples) for name, (samples, _) in layers.items()}
    noises = {name: facts.relative_error for name, (_, facts) in layers.items()}
    costs = {name: intervals[name][0] / noises[name] ** 2 if noises[name] else 0.0 for name in layers}
    noise, cost = float(np.median(list(noises.values()))), float(np.median(list(costs.values())))
    risks = {}
    for name, (_, facts) in layers.items():
        risk, low, high = intervals[name]
        compared = comparison_reasons(
            sensitivity=costs[name] / cost if cost else 0.0, noise=noises[name] / noise if noise else 0.0
        )
        risks[name] = FormatRisk(
            risk=risk,
            risk_low=low,
            risk_high=high,
            rating=limits.grade(risk),
            snr_db=facts.snr_db,
            relative_error=facts.relative_error,
            drift=facts.drift,
            drift_measured=facts.drift_measured,
            reasons=tuple(compared + facts.reasons) or (EVEN,),
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
