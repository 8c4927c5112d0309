"""A stack's scalar from a few rows: shrunk by the prior, found by many, and kept in a file."""

import math
from pathlib import Path

import numpy as np
import pytest

from latency_predictor import calibrate, predict
from latency_predictor.calibration import write_calibration
from latency_predictor.stacks import find_stack, posterior
from mfi_command import BadInput

DEVICE = "A100-SXM4-80GB"


def rows(factor: float, count: int, noise: float = 0.0, seed: int = 0) -> list[dict]:
    generator = np.random.default_rng(seed)
    found = []
    for number in range(count):
        batch, prompt = 2 ** (number % 5), 128 * (1 + number // 5)
        answer = predict(
            "opt-13b", device=DEVICE, batch=batch, prompt=prompt, output=2, stack="vllm", dtype="fp16"
        )
        seconds = answer.decode_step_s * factor * math.exp(generator.normal(0, noise))
        found.append({"model": "opt-13b", "phase": "decode", "batch": batch, "positions": prompt + 1,
                      "dtype": "fp16", "latency_s": seconds})  # fmt: skip
    return found


def test_posterior_by_integration() -> None:
    logs, spread, noise = [0.3, 0.25, 0.4], 0.2, 0.1
    grid = np.linspace(-2, 2, 400_001)
    density = -0.5 * (grid / spread) ** 2 - sum(0.5 * ((log - grid) / noise) ** 2 for log in logs)
    weights = np.exp(density - density.max())
    mean = float((weights * grid).sum() / weights.sum())
    deviation = float(np.sqrt((weights * (grid - mean) ** 2).sum() / weights.sum()))
    assert posterior(logs, spread=spread, noise=noise) == pytest.approx((mean, deviation), rel=1e-5)
    assert posterior([], spread=spread, noise=noise) == pytest.approx((0.0, spread))


@pytest.mark.parametrize("factor", [1.0, 1.4, 1.9])
def test_finds_the_scalar_of_a_slower_stack(factor: float) -> None:
    few, many = (calibrate(rows(factor, count), device=DEVICE, stack="vllm") for count in (1, 20))
    assert many.factor == pytest.approx(factor, rel=0.02)
    # One row is pulled towards what ships, and says that it knows less.
    assert abs(math.log(few.factor)) <= abs(math.log(many.factor)) + 1e-9
    assert few.factor_high / few.factor_low > many.factor_high / many.factor_low
    assert many.factor_low < factor * 1.01
    assert many.factor_high > factor * 0.99


def test_a_calibrated_stack_predicts_another_model_and_survives_a_file(tmp_path: Path) -> None:
    made = calibrate(rows(1.5, 8, noise=0.03), device=DEVICE, stack="vllm", name="mine")
    plain = predict("opt-30b", device=DEVICE, prompt=100, output=8, stack="vllm", dtype="fp16")
    mine = predict("opt-30b", device=DEVICE, prompt=100, output=8, stack=made.stack, dtype="fp16")
    assert mine.decode_step_s / plain.decode_step_s == pytest.approx(made.factor, rel=1e-6)
    file = tmp_path / "own.json"
    write_calibration(file, made, device=DEVICE)
    again = predict("opt-30b", device=DEVICE, prompt=100, output=8, stack="mine", fit=file, dtype="fp16")
    assert again.decode_step_s == pytest.approx(mine.decode_step_s, rel=1e-3)
    assert "yours" in again.provenance


def test_impossible_rows_do_not_move_it() -> None:
    good = rows(1.3, 6)
    bad = [{**row, "latency_s": row["latency_s"] * 1e3, "positions": row["positions"] + 1} for row in good]
    found = calibrate(good + bad, device=DEVICE, stack="vllm")
    assert found.rows == 6
    assert len(found.linted.dropped) == 6
    assert found.factor == pytest.approx(calibrate(good, device=DEVICE, stack="vllm").factor)
    with pytest.raises(BadInput, match="no row is left"):
        calibrate(bad, device=DEVICE, stack="vllm")
    with pytest.raises(BadInput, match="no row is left"):
        calibrate([], device=DEVICE, stack="vllm")


def test_unknown_stack_and_device() -> None:
    with pytest.raises(BadInput, match="stack"):
        find_stack("magic")
    with pytest.raises(BadInput, match="T5"):
        calibrate(rows(1.0, 1), device="T5", stack="vllm")
