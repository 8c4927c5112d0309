"""How long a request takes on a device, with an interval.

Importing this package loads no torch; `fit`, the linear baseline, loads numpy when it is called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from latency_predictor.advice import Advice, advise
from latency_predictor.prediction import STACKS, Part, Phase, Prediction, predict

if TYPE_CHECKING:
    from latency_predictor.baseline import Baseline

__all__ = ["STACKS", "Advice", "Part", "Phase", "Prediction", "advise", "fit", "predict"]


def fit(rows: Sequence[Mapping[str, Any]]) -> Baseline:
    """See `latency_predictor.baseline.fit`."""
    from latency_predictor import baseline

    return baseline.fit(rows)
