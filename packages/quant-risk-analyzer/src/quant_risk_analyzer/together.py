"""The damage of a whole assignment: all of its layers quantized at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from quant_risk_analyzer.formats import Granularity
from quant_risk_analyzer.models import Model, device_of, opened
from quant_risk_analyzer.rounding import rounded_weights
from quant_risk_analyzer.texts import text_windows
from quant_risk_analyzer.truth import Baseline, batches


@dataclass(frozen=True)
class JointDamage:
    """What quantizing several layers together does to the model, in nats per token; errors over the windows.

    Attributes
    ----------
    tokens
        That were scored.
    loss
        Cross-entropy of the untouched model.
    loss_increase, loss_increase_stderr
        Its rise.
    kl, kl_stderr
        Kullback-Leibler divergence from the untouched distribution.
    """

    tokens: int
    loss: float
    loss_increase: float
    loss_increase_stderr: float
    kl: float
    kl_stderr: float

    @property
    def perplexity(self) -> float:
        """Of the quantized model."""
        return float(np.exp(self.loss + self.loss_increase))

    def to_dict(self) -> dict[str, float]:
        """As a plain dictionary."""
        return {**asdict(self), "perplexity": self.perplexity}


def measure_together(
    model: Model,
    text: str,
    assignment: Mapping[str, str],
    *,
    granularity: Granularity = "channel",
    max_tokens: int = 4096,
    context: int = 256,
) -> JointDamage:
    """Quantize all layers of an assignment at once and measure the damage on a text.

    Layers do not do their damage independently: this is the number that the sum of single damages stands for.

    Parameters
    ----------
    model
        Path, "reference", or a causal language model with a tokenizer.
    text
        Evaluation text; never the one a rating was calibrated on.
    assignment
        Format by layer name, as in `Allocation.assignment`; the other layers stay.
    granularity
        As for `quantize`.
    max_tokens, context
        At most this many tokens are scored, in windows of `context` spread evenly over the text.

    Raises
    ------
    BadInput
        As `rounded_weights`; a text shorter than two windows.

    Notes
    -----
    Two forward passes.
    """
    import torch

    network = opened(model)
    windows = text_windows(
        network, text, windows=max(2, max_tokens // context), length=context + 1, least=2
    ).to(device_of(network))
    losses, found = [], []
    with torch.no_grad():
        for batch, _ in batches(network, windows, 1, None):
            base = Baseline(network, batch)
            losses.append(base.losses)
            with rounded_weights(network, assignment, granularity=granularity):
                found.append(base.compare(network(batch[:, :-1])))
    kl, rise = np.concatenate(found, axis=1)
    count = len(windows)
    return JointDamage(
        tokens=count * context,
        loss=float(np.concatenate(losses).mean()),
        loss_increase=float(rise.mean()),
        loss_increase_stderr=float(rise.std(ddof=1) / count**0.5),
        kl=float(kl.mean()),
        kl_stderr=float(kl.std(ddof=1) / count**0.5),
    )
