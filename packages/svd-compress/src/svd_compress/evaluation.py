"""How much worse a model predicts a text than before, with an interval from the text's windows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mfi_command import BadInput
from svd_compress.matrices import Float64

if TYPE_CHECKING:
    from checkpoint_lens import CausalLM
    from checkpoint_lens.windows import Window

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Losses:
    """Summed negative log-likelihood of each window, nats, and how many tokens each judged."""

    sums: Float64
    tokens: Float64

    @property
    def loss(self) -> float:
        """Nats per token."""
        return float(self.sums.sum() / self.tokens.sum())

    @property
    def perplexity(self) -> float:
        """exp(loss), infinite where that overflows."""
        return math.exp(self.loss) if self.loss < 700 else math.inf


@dataclass(frozen=True)
class Rise:
    r"""Perplexity after minus before, and its two-sided interval of confidence 0.95.

    `low` and `high` hold the mean over all text like this; `unseen_high` is where a rise that is measured on
    another text of the same length stays below with probability 0.975: both texts are samples, so its
    distance is $\sqrt2$ times that of `high`.
    """

    before: float
    after: float
    rise: float
    low: float
    high: float

    @property
    def unseen_high(self) -> float:
        """Upper bound for another text of the same length."""
        return self.rise + math.sqrt(2.0) * (self.high - self.rise)


def losses(
    model: CausalLM, windows: Sequence[Window], *, on_progress: Callable[[int, int], None] | None = None
) -> Losses:
    """Judge the model on each window.

    Raises
    ------
    BadInput
        If a loss is not finite.
    """
    from checkpoint_lens.scoring import window_loss

    sums = np.empty(len(windows))
    for done, window in enumerate(windows, 1):
        sums[done - 1] = window_loss(model, window)
        if not math.isfinite(sums[done - 1]):
            raise BadInput(f"the loss of window {done} is not finite; this model cannot be judged")
        if on_progress is not None:
            on_progress(done, len(windows))
    return Losses(sums, np.array([float(len(window.ids) - window.unscored) for window in windows]))


def paired_rise(before: Losses, after: Losses) -> Rise:
    r"""Rise of the perplexity between two models on the same windows.

    The windows are the sample: each contributes
    $z_i = P_1 (s_{1i} - \ell_1 n_i) - P_0 (s_{0i} - \ell_0 n_i)$ to the linearised difference
    (delta method of two ratio estimators), so what makes a window hard for both models cancels. The
    interval is Student's t over windows, infinite for a single one; it speaks of text like this text.

    Raises
    ------
    BadInput
        If the two were judged on different windows.
    """
    if not np.array_equal(before.tokens, after.tokens):
        raise BadInput("the two models were judged on different windows; judge both on the same text")
    n, total = len(before.tokens), before.tokens.sum()
    P0, P1 = before.perplexity, after.perplexity
    rise = P1 - P0
    if n < 2 or not math.isfinite(P1):
        return Rise(P0, P1, rise, -math.inf, math.inf)
    z = P1 * (after.sums - after.loss * after.tokens) - P0 * (before.sums - before.loss * before.tokens)
    error = math.sqrt(float(z @ z) * n / (n - 1)) / total
    from scipy.stats import t

    half = float(t.ppf((1 + CONFIDENCE) / 2, n - 1)) * float(error)
    return Rise(P0, P1, rise, rise - half, rise + half)
