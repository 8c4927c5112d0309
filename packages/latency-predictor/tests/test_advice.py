"""The advised batch against trying them all here."""

import math

import pytest

from latency_predictor import Prediction, advise, predict
from mfi_command import BadInput

OPTIONS = {"device": "H100", "prompt": 256, "output": 64, "stack": "vllm"}


@pytest.fixture(scope="module")
def points() -> list[Prediction]:
    """Every batch, one by one."""
    return [predict("llama-3-8b", batch=batch, **OPTIONS) for batch in range(1, 41)]


@pytest.mark.parametrize("limit_ms", [7.0, 8.0, 12.0])
@pytest.mark.parametrize("cautious", [False, True])
def test_advice_is_the_best_of_all(limit_ms: float, cautious: bool, points: list[Prediction]) -> None:
    found = advise("llama-3-8b", max_decode_s=limit_ms / 1e3, largest=40, cautious=cautious, **OPTIONS)
    step = {point.batch: point.decode.high_s if cautious else point.decode_step_s for point in points}
    allowed = [point for point in points if step[point.batch] <= limit_ms / 1e3]
    expected = max(allowed, key=lambda point: point.tokens_per_s).batch if allowed else None
    assert (found.best.batch if found.best else None) == expected


def test_memory_ends_the_curve() -> None:
    found = advise("llama-2-7b", device="A100", max_decode_s=1.0, prompt=3000, output=1000, largest=64)
    assert found.memory_limited
    last = found.curve[-1]
    assert last.memory_bytes <= 80e9
    with pytest.raises(BadInput, match="GB"):
        predict("llama-2-7b", device="A100", batch=last.batch + 1, prompt=3000, output=1000)


def test_no_batch_keeps_an_impossible_limit() -> None:
    found = advise("opt-30b", device="A100", max_decode_s=1e-4, largest=2)
    assert found.best is None
    assert found.to_dict()["batch"] is None
    for wrong in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(BadInput, match="max_decode_s"):
            advise("opt-30b", device="A100", max_decode_s=wrong)
    with pytest.raises(BadInput, match="GB"):
        advise("opt-66b", device="A100", max_decode_s=1.0)
