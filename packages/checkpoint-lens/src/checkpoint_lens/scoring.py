"""Perplexity: how well a model predicts a text."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from checkpoint_lens.windows import Tick, Window, windows
from mfi_command import BadInput, require

if TYPE_CHECKING:
    from checkpoint_lens.causal_lm import CausalLM


@dataclass(frozen=True)
class Perplexity:
    """How well a model predicts a text.

    Attributes
    ----------
    perplexity
        exp(loss).
    loss
        Mean negative log-likelihood, nats per judged token.
    tokens
        How many tokens were judged.
    bits_per_byte
        The same likelihood per byte of the judged text: comparable between tokenizers.
    loss_stderr
        Standard error of `loss` over windows, NaN with a single one.
    """

    perplexity: float
    loss: float
    tokens: int
    bits_per_byte: float
    loss_stderr: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


def perplexity(
    model: CausalLM,
    text: str,
    *,
    context: int = 512,
    max_tokens: int | None = None,
    on_progress: Tick | None = None,
) -> Perplexity:
    r"""Judge a model's predictions of a text.

    The text is cut into non-overlapping windows of `context` tokens. With token losses
    $\ell_i = -\log p(t_i \mid t_{<i} \text{ in its window})$ the loss is their mean, the perplexity its
    exponential. Predictions early in a window see little context: a smaller `context` gives a higher
    perplexity, so compare only at the same one.

    Parameters
    ----------
    model
        From `load_model`.
    text
        Any text; the model's tokenizer cuts it.
    context
        Tokens of a window, a begin-of-text token included.
    max_tokens
        Read only so many tokens of the text.
    on_progress
        Called with (windows done, windows in all).

    Returns
    -------
    Perplexity
        Losses are float32 log-softmax values (of the model's logits) summed in float64.

    Raises
    ------
    BadInput
        If the text is empty or shorter than two tokens, or the loss is not finite.
    """
    parts = windows(model, text, context=context, max_tokens=max_tokens)
    sums = np.empty(len(parts))
    for done, part in enumerate(parts, 1):
        sums[done - 1] = window_loss(model, part)
        if not math.isfinite(sums[done - 1]):
            raise BadInput(f"the loss of window {done} is not finite; load the model in float32")
        if on_progress is not None:
            on_progress(done, len(parts))
    counts = np.array([len(part.ids) - part.unscored for part in parts])
    return _summary(sums, counts, sum(part.text_bytes for part in parts))


def window_loss(model: CausalLM, window: Window) -> float:
    """The summed negative log-likelihood of a window's judged tokens, nats."""
    torch = require("torch", extra="torch", distribution="checkpoint-lens")
    device = next(model.parameters()).device
    ids = torch.from_numpy(window.ids).to(device)
    with torch.inference_mode():
        logits = model(ids[None, :-1])[0, window.unscored - 1 :]
        wide = logits if logits.dtype == torch.float64 else logits.float()
        losses = torch.nn.functional.cross_entropy(wide, ids[window.unscored :], reduction="none")
    return float(losses.double().sum())


def _summary(
    sums: np.ndarray[Any, np.dtype[np.float64]], counts: np.ndarray[Any, np.dtype[np.int64]], text_bytes: int
) -> Perplexity:
    tokens = int(counts.sum())
    loss = float(sums.sum()) / tokens
    return Perplexity(
        perplexity=math.exp(loss) if loss < 700 else math.inf,
        loss=loss,
        tokens=tokens,
        # A judged token may stand for no byte of its own (the rest of a character): then there is no rate.
        bits_per_byte=loss * tokens / math.log(2) / text_bytes if text_bytes else math.nan,
        loss_stderr=_standard_error(sums - loss * counts, tokens),
    )


def _standard_error(residuals: np.ndarray[Any, np.dtype[np.float64]], tokens: int) -> float:
    """Of a ratio of sums over windows (the linearised variance of a ratio estimator)."""
    n = len(residuals)
    if n < 2:
        return math.nan
    return math.sqrt(float(np.square(residuals).sum()) * n / (n - 1)) / tokens
