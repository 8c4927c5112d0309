"""Many sizes at once are the same numbers as one at a time."""

import numpy as np
import pytest

from latency_predictor import predict, predict_many
from mfi_command import BadInput

_SINGLE = 1e-4  # residuals are evaluated in single precision, in products of other sizes


@pytest.mark.parametrize("stack", ["cuda-graph", "eager", "vllm"])
def test_equals_one_at_a_time(stack: str) -> None:
    generator = np.random.default_rng(0)
    batch, prompt, output = (generator.integers(1, most, 12) for most in (64, 1500, 200))
    grid = predict_many("qwen3-8b", device="H200", batch=batch, prompt=prompt, output=output, stack=stack)
    for i in range(12):
        one = predict(
            "qwen3-8b",
            device="H200",
            batch=int(batch[i]),
            prompt=int(prompt[i]),
            output=int(output[i]),
            stack=stack,
        )
        assert grid.prefill_s[i] == pytest.approx(one.prefill_s, rel=_SINGLE)
        assert grid.decode_step_s[i] == pytest.approx(one.decode_step_s, rel=_SINGLE)
        assert grid.decode_step_high_s[i] == pytest.approx(one.decode.high_s, rel=_SINGLE)
        assert grid.total_s[i] == pytest.approx(one.total_s, rel=_SINGLE)
        assert grid.memory_bytes[i] == one.memory_bytes


def test_broadcasts_and_says_what_does_not_fit() -> None:
    grid = predict_many("llama-2-7b", device="A100", batch=[1, 1000], prompt=4000)
    assert grid.fits.tolist() == [True, False]
    assert grid.prompt.tolist() == [4000, 4000]


@pytest.mark.parametrize("batch", [0, -1, 1.5, [], [3, 0], 10**13, True])
def test_sizes_are_whole_and_positive(batch: object) -> None:
    with pytest.raises(BadInput, match="batch"):
        predict_many("gpt2", device="A100", batch=batch, prompt=10)
