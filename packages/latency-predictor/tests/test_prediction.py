"""Predictions: measured rows that they must meet, consistency, memory, and unusable arguments."""

import json
from pathlib import Path

import numpy as np
import pytest

from latency_predictor import STACKS, predict
from latency_predictor.coefficients import table
from mfi_command import BadInput
from roofline import Device, analyze, read_config

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "eager_h100.json"


@pytest.fixture(scope="module")
def measured() -> list[dict]:
    if not RESULTS.is_file():  # the tests also run beside an installed wheel, without the repository
        pytest.skip("benchmarks/results is not here")
    return json.loads(RESULTS.read_text())["rows"]


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_measured_rows_of_an_h100(measured: list[dict], phase: str) -> None:
    """Against wall times of real models: the error that coefficients.toml states, and the interval it
    promises.
    """
    errors, inside = [], []
    for row in measured:
        if row["phase"] == phase:
            found = predict(
                row["model"],
                device="H100",
                batch=row["batch"],
                prompt=row["prompt"],
                output=2,
                stack="eager",
                dtype="fp16",
            )
            part = found.prefill if phase == "prefill" else found.decode
            errors.append(abs(part.time_s / row["latency_s"] - 1))
            inside.append(part.low_s <= row["latency_s"] <= part.high_s)
    stated = table()["interval"]["eager"][phase]
    assert len(errors) == stated["rows"]
    # The formulas and the coefficients belong together: a change of one without the other shows here.
    assert np.median(errors) == pytest.approx(stated["fitted_median_ape"], rel=1e-3)
    assert np.median(errors) <= stated["median_ape"]
    assert np.mean(inside) >= 0.9


def test_opt_30b_decode_on_an_h100(measured: list[dict]) -> None:
    """One number a reader can follow: batch 1, 128 positions, measured and predicted within 3 ms."""
    row = next(
        row
        for row in measured
        if (row["model"], row["phase"], row["batch"], row["prompt"]) == ("opt-30b", "decode", 1, 128)
    )
    found = predict("opt-30b", device="H100", prompt=128, output=2, stack="eager", dtype="fp16")
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
    each = [predict("llama-2-7b", prompt=200 + i, output=2, **options).decode_step_s for i in range(400)]
    assert found.decode_step_s == pytest.approx(np.mean(each), rel=5e-3)


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
        ({"stack": "compiled"}, "stack"),
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


def test_shipped_intervals_cover_what_they_promise() -> None:
    """Coverage on held-out groups, as the fitting script measured it, is at least nine in ten for every
    interval.
    """
    found = table()["interval"]
    leaves = [found["eager"][phase] for phase in ("prefill", "decode")]
    leaves += [
        found[which][part][phase]
        for which in ("known", "unseen")
        for part in ("layer", "attention")
        for phase in ("prefill", "decode")
    ]
    for leaf in leaves:
        assert leaf["coverage"] >= 0.9
        assert leaf["low_log"] < 0 < leaf["high_log"]
