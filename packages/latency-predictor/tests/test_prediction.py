"""Predictions: measured rows that they must meet, consistency, memory, and unusable arguments."""

import json
from pathlib import Path

import numpy as np
import pytest

from latency_predictor import STACKS, predict, predict_many
from latency_predictor.stacks import table
from mfi_command import BadInput
from roofline import Device, analyze, read_config

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "h200.json"


@pytest.fixture(scope="module")
def measured() -> list[dict]:
    if not RESULTS.is_file():  # the tests also run beside an installed wheel, without the repository
        pytest.skip("benchmarks/results is not here")
    return [row for row in json.loads(RESULTS.read_text())["rows"] if row["kind"] == "pass"]


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_measured_rows_of_an_h200(measured: list[dict], phase: str) -> None:
    """Against times of real models: the error that stacks.toml states, and the interval it promises."""
    rows = [row for row in measured if (row["stack"], row["phase"]) == ("cuda-graph", phase)]
    models = sorted({row["model"] for row in rows})
    errors, inside = [], []
    for model in models:
        mine = [row for row in rows if row["model"] == model]
        after = phase == "decode"
        grid = predict_many(
            model,
            device="H200",
            batch=[row["batch"] for row in mine],
            prompt=[max(1, row["positions"] - after) for row in mine],
            output=2,
        )
        names = ("decode_step", "decode_step_low", "decode_step_high") if after else (
            "prefill", "prefill_low", "prefill_high",
        )  # fmt: skip
        found, low, high = (getattr(grid, f"{name}_s") for name in names)
        seconds = np.array([row["latency_s"] for row in mine])
        errors.extend(np.abs(found / seconds - 1))
        inside.extend((low <= seconds) & (seconds <= high))
    stated = table()["interval"]["stack"]["cuda-graph"][phase]
    assert len(errors) == stated["rows"]
    # The stack is fitted on these rows, so it is at most as far off as with their families left out.
    assert 0.5 * stated["median_ape"] < np.median(errors) <= 1.1 * stated["median_ape"]
    assert 0.88 <= np.mean(inside) <= 0.97


@pytest.mark.parametrize(("batch", "prompt"), [(1, 127), (4, 1023), (32, 255)])
def test_opt_30b_decode_on_an_h200(measured: list[dict], batch: int, prompt: int) -> None:
    """One number a reader can follow: a decode step, measured and predicted within 3 ms."""
    row = next(
        row
        for row in measured
        if (row["model"], row["phase"], row["stack"]) == ("opt-30b", "decode", "cuda-graph")
        and (row["batch"], row["positions"]) == (batch, prompt + 1)
    )
    found = predict("opt-30b", device="H200", batch=batch, prompt=prompt, output=2)
    assert found.decode_step_s == pytest.approx(row["latency_s"], abs=3e-3)


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("device", ["A100-80GB", "H100", "H200", "A40", "L4", "MI300X"])
def test_between_floor_and_ten_times_it(stack: str, device: str) -> None:
    found = predict("llama-3.2-3b", device=device, batch=8, prompt=1024, output=64, stack=stack)
    for phase, part, sequence in (("prefill", found.prefill, 1024), ("decode", found.decode, 1025)):
        floor = analyze(
            "llama-3.2-3b", device=device, batch=8, sequence=sequence, phase=phase, fused=stack == "vllm"
        ).total_time_s
        assert part.low_s < part.time_s < part.high_s
        # A norm that stays in the L2 may beat the DRAM floor a little; the sum of a layer does not.
        assert floor < part.time_s < (10 if stack != "eager" else 60) * floor


def test_total_is_prefill_and_steps() -> None:
    found = predict("opt-13b", device="A100", batch=4, prompt=100, output=50, dtype="fp16")
    assert found.total_s == pytest.approx(found.prefill_s + 49 * found.decode_step_s)
    assert found.low_s < found.total_s < found.high_s
    for phase in ("prefill", "decode"):
        parts = [part.time_s for part in found.breakdown if part.phase == phase]
        whole = found.prefill_s if phase == "prefill" else found.decode_step_s
        assert sum(parts) == pytest.approx(whole, rel=1e-3)
    one = predict("opt-13b", device="A100", prompt=100, output=1, dtype="fp16")
    assert one.total_s == one.prefill_s


def test_mean_step_equals_the_mean_over_every_step() -> None:
    """Simpson's three steps against all of them."""
    options = {"device": "H100", "batch": 16, "stack": "cuda-graph"}
    found = predict("llama-2-7b", prompt=200, output=401, **options)
    each = predict_many("llama-2-7b", prompt=200 + np.arange(400), output=2, **options).decode_step_s
    assert found.decode_step_s == pytest.approx(each.mean(), rel=5e-3)


def test_more_work_takes_longer() -> None:
    base = predict("llama-3-8b", device="H100", batch=4, prompt=512, output=64)
    assert predict("llama-3-8b", device="H100", batch=8, prompt=512, output=64).total_s > base.total_s
    assert predict("llama-3-8b", device="H100", batch=4, prompt=1024, output=64).prefill_s > base.prefill_s
    assert predict("llama-3-8b", device="A100", batch=4, prompt=512, output=64).total_s > base.total_s
    assert (
        predict("llama-3-8b", device="H100", batch=4, prompt=512, stack="eager").decode_step_s
        > base.decode_step_s
    )


def test_a_device_that_was_not_measured_has_a_wider_interval_and_says_so() -> None:
    known = predict("llama-3.2-1b", device="A100")
    unseen = predict("llama-3.2-1b", device="RTX-4090")
    assert unseen.high_s / unseen.low_s > known.high_s / known.low_s
    assert any("not measured" in note for note in unseen.notes)
    assert not any("not measured" in note for note in known.notes)


def test_what_does_not_fit_is_refused_not_predicted() -> None:
    with pytest.raises(BadInput, match="GB for weights and cache"):
        predict("opt-66b", device="A100-80GB")
    with pytest.raises(BadInput, match="smaller batch"):
        predict("llama-2-7b", device="A100-80GB", batch=1000, prompt=4000)
    assert predict("opt-66b", device=Device("big", {"bf16": 1e15}, 1e12)).total_s > 0


def test_a_config_dict_works_and_names_its_type() -> None:
    named = predict("smollm2-135m", device="H100")
    given = predict(read_config("smollm2-135m"), device="H100")
    assert given.total_s == named.total_s
    assert given.model == "llama"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stack": "magic"}, "stack"),
        ({"batch": 0}, "batch"),
        ({"prompt": -1}, "prompt"),
        ({"output": 0}, "output"),
        ({"output": 10**40}, "output"),
        ({"prompt": True}, "prompt"),
        ({"dtype": "fp8"}, "fp8"),
        ({"device": "T5"}, "T5"),
    ],
)
def test_bad_arguments(options: dict, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        predict("gpt2", **{"device": "A100", **options})


def test_what_lies_outside_of_the_measurements_is_said_and_widens() -> None:
    inside = predict("llama-3-8b", device="H200", batch=8, prompt=500, output=4)
    outside = predict("qwen2.5-0.5b", device="H200", batch=4096, prompt=4, output=4)
    assert not any("extrapolated" in note for note in inside.notes)
    assert any("attention" in note and "extrapolated" in note for note in outside.notes)
    near, far = (answer.decode.high_s / answer.decode.low_s for answer in (inside, outside))
    assert far > near


def test_a_mixture_of_experts_is_refused_not_guessed() -> None:
    config = {
        **read_config("llama-3.2-1b"),
        "model_type": "mixtral",
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
    }
    with pytest.raises(BadInput, match="dense"):
        predict(config, device="H200")


def test_tensor_parallel_divides_the_weights_and_pays_for_the_exchange() -> None:
    whole = predict("opt-13b", device="H100", batch=4, prompt=256, output=8, stack="vllm")
    half = predict("opt-13b", device="H100", batch=4, prompt=256, output=8, stack="vllm", tensor_parallel=2)
    assert 0.5 * whole.decode_step_s < half.decode_step_s < whole.decode_step_s
    assert any(part.name == "all_reduce" and part.time_s > 0 for part in half.breakdown)
    with pytest.raises(BadInput, match="no all-reduce among 10 devices"):
        predict("opt-13b", device="H100", stack="vllm", tensor_parallel=10)
