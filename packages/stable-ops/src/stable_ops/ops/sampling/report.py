"""What the filters leave of a distribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfi_command import BadInput
from stable_ops.arrays import Float64, unwrap
from stable_ops.ops.sampling.draw import limits
from stable_ops.ops.sampling.prefix import Descending
from stable_ops.ops.sampling.settings import read_settings, require_logits, rows_of


@dataclass(frozen=True)
class TruncationReport:
    """The truncated distribution of one row.

    Attributes
    ----------
    tokens : int64 array, shape (support,)
        What is kept, by descending probability and ascending index; the set and its order are exact.
    probabilities : float64 array, shape (support,)
        Of the truncated distribution; they sum to 1.
    vocabulary : int
        Tokens that are not masked with -inf.
    support : int
        How many are kept.
    mass_kept : float
        Their share of the probability before top-k, top-p and min-p.
    entropy_nats, full_entropy_nats : float
        Of the truncated distribution and of the one before it.
    effective_support : float
        exp(entropy): the number of equally likely tokens with that entropy (perplexity).
    limited_by : str or None
        The filter that kept the fewest: "top_k", "top_p", "min_p"; None if all were kept.

    Examples
    --------
    >>> truncation_report([0.0, 0.0, -50.0], top_p=0.9)[0].to_dict(first=1)["tokens"]
    [0]
    """

    tokens: NDArray[np.int64]
    probabilities: Float64
    vocabulary: int
    support: int
    mass_kept: float
    entropy_nats: float
    full_entropy_nats: float
    effective_support: float
    limited_by: str | None

    def to_dict(self, *, first: int = 10) -> dict[str, Any]:
        """The fields as plain data, with the `first` tokens."""
        fields = dict(vars(self))
        for name in ("tokens", "probabilities"):
            fields[name] = fields[name][:first].tolist()
        return fields


def truncation_report(
    logits: Any, *, temperature: Any = 1.0, top_k: Any = None, top_p: Any = None, min_p: Any = None
) -> list[TruncationReport]:
    r"""What `sample` would draw from: which tokens, how much mass, how much entropy; one report a row.

    Parameters
    ----------
    logits, temperature, top_k, top_p, min_p
        As `sample`, with a temperature above 0.

    Returns
    -------
    list of TruncationReport
        One for each row of logits of shape (..., n), in C order.

    Notes
    -----
    :math:`H = \log M + \sum_i w_i\,(\max x - x_i)/(T M)` over the kept tokens, with :math:`w_i` of
    `sample` and M their sum: no logarithm of a small probability is taken. The tokens are exact, the
    numbers float64 results within about :math:`n\,2^{-53}` relative. Cost O(n log n) a row.

    Raises
    ------
    BadInput
        As `sample`, and for a temperature of 0.

    References
    ----------
    Cover, Thomas, Elements of Information Theory, section 2.1; those of `sample`.

    Examples
    --------
    >>> report, = truncation_report([1.0, 1.0, 1.0, 1.0], top_k=2)
    >>> report.support, report.mass_kept, round(report.effective_support, 9), report.limited_by
    (2, 0.5, 2.0, 'top_k')
    """
    operand = unwrap(logits, "logits")
    rows = rows_of(operand)
    shape = operand.values.shape[:-1]
    settings = read_settings(shape, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    if (settings.temperature == 0).any():
        raise BadInput("a temperature of 0 keeps one token: a report needs a temperature above 0")
    require_logits(rows)
    reports = []
    for i, row in enumerate(rows):
        ordered = Descending(row, float(settings.temperature[i]))
        reports.append(_report(ordered, limits(ordered, settings, i)))
    return reports


def _report(ordered: Descending, counts: dict[str, int]) -> TruncationReport:
    name = min(counts, key=lambda filter: counts[filter])
    support, vocabulary = counts[name], ordered.tokens.size
    mass = float(ordered.weights[:support].sum())
    entropy = _entropy(ordered, support)
    return TruncationReport(
        tokens=ordered.tokens[:support],
        probabilities=ordered.weights[:support] / mass,
        vocabulary=vocabulary,
        support=support,
        mass_kept=mass / float(ordered.weights.sum()),
        entropy_nats=entropy,
        full_entropy_nats=_entropy(ordered, vocabulary),
        effective_support=float(np.exp(entropy)),
        limited_by=name if support < vocabulary else None,
    )


def _entropy(ordered: Descending, n: int) -> float:
    weights = ordered.weights[:n]
    mass = float(weights.sum())
    return float(np.log(mass) - (weights @ ordered.gaps[:n]) / mass)
