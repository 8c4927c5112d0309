"""How long a request takes on a device, with an interval.

Importing this package loads neither torch nor numpy: the functions that need them do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from latency_predictor.advice import Advice, Point, advise
from latency_predictor.answer import Part, Phase, Prediction
from latency_predictor.grid import Grid, predict_many
from latency_predictor.prediction import predict

if TYPE_CHECKING:
    from latency_predictor.baseline import Baseline
    from latency_predictor.calibration import Calibration

__all__ = [
    "STACKS",
    "Advice",
    "Grid",
    "Part",
    "Phase",
    "Point",
    "Prediction",
    "advise",
    "calibrate",
    "fit",
    "predict",
    "predict_many",
]

# Name and sentence of every stack that ships; `stacks.toml` has the numbers, and the tests hold the two
# together.
STACKS: dict[str, str] = {
    "cuda-graph": "plain torch kernels in a CUDA graph; projections apart",
    "compiled": "the same with what is element by element compiled into fewer kernels",
    "eager": "transformers as its code is written: unfused kernels, launched one by one",
    "vllm": "a serving engine's fused kernels, one product for q, k, v; scheduling is not counted",
    "fastertransformer": "FasterTransformer of 2022",
    "torch-2022": "transformers on PyTorch of 2022",
}


def fit(rows: Sequence[Mapping[str, Any]]) -> Baseline:
    """The linear baseline: see `latency_predictor.baseline.fit`."""
    from latency_predictor import baseline

    return baseline.fit(rows)


def calibrate(rows: Sequence[Mapping[str, Any]], **options: Any) -> Calibration:
    """A stack of the user's own: see `latency_predictor.calibration.calibrate`."""
    from latency_predictor import calibration

    return calibration.calibrate(rows, **options)
