"""A fit on rows made from known coefficients finds them; too few rows are refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from latency_predictor import predict
from latency_predictor.collect import micro
from latency_predictor.device_fit import hardware_of
from latency_predictor.engine import chosen_for
from latency_predictor.fitting.own import fit_own, read_collected
from latency_predictor.fitting.samples import PASSES_OVER
from latency_predictor.fitting.stack import PassRow, busy, family, predicted
from latency_predictor.stacks import find_stack
from latency_predictor.timing import decode_s, gemm_s, prefill_s, vector_s
from mfi_command import BadInput
from roofline import device

NAME = "H200"
NOISE = 0.01
SLOWER = {"prefill": 1.2, "decode": 1.1}
STEADY = 0.8  # of the rested rate
MODELS = ("opt-1.3b", "llama-3.2-1b", "qwen2.5-0.5b", "opt-6.7b", "llama-3-8b", "qwen2.5-7b")


@pytest.fixture(scope="module")
def content() -> dict:
    """What `collect` would write on a device that follows the formulas, with a stack of known scalars."""
    generator = np.random.default_rng(0)
    fit, on = chosen_for(device(NAME).name).fit, hardware_of(device(NAME), "bf16")
    bare = replace(fit, residuals={}, sustained=STEADY)
    rows = []
    for entry in micro.plan("cuda"):
        if entry["kind"] == "sustained":
            rows.append({**entry, "latency_s": 1e-3 if entry["rested"] else 1e-3 / STEADY})
            continue
        if entry["kind"] == "gemm":
            m, n, k = (float(entry[key]) for key in "mnk")
            seconds = gemm_s(m, n, k, 2 * (m * k + n * k + m * n), fit.gemms["bf16"], on)
        elif entry["kind"] == "attention":
            batch, keys, heads, kv, dim = (
                float(entry[key]) for key in ("batch", "keys", "heads", "kv_heads", "head_dim")
            )
            if entry["phase"] == "decode":
                moved = 4 * batch * dim * (heads + keys * kv)
                seconds = decode_s(batch, keys, kv, moved, fit.decodes["torch"], on)
            else:
                moved, flop = (
                    4 * batch * dim * keys * (heads + kv),
                    2 * batch * heads * dim * keys * (keys + 1),
                )
                seconds = prefill_s(batch, keys, heads, flop, moved, fit.prefills["torch"], on)
        else:
            moved = 2.0 * PASSES_OVER[entry["name"]] * entry["tokens"] * entry["width"]
            made = fit.vectors[f"torch.{entry['name']}"]
            seconds = vector_s(moved, made if entry["cached"] else replace(made, l2_ratio=1.0), on)
        rows.append({**entry, "latency_s": float(seconds) * float(np.exp(generator.normal(0, NOISE)))})
    stack = replace(find_stack("cuda-graph"), scale=SLOWER, step_s=2e-5)
    passes = [
        PassRow(model, phase, batch, positions, "bf16", 1.0)
        for model in MODELS for phase in SLOWER for batch, positions in ((1, 128), (8, 512), (32, 256))
    ]  # fmt: skip
    for one, seconds in zip(passes, predicted(busy(passes, stack, bare, device(NAME)), stack), strict=True):
        rows.append({
            "kind": "pass", "stack": "cuda-graph", "model": one.model, "phase": one.phase, "batch": one.batch,
            "positions": one.positions,
            "latency_s": float(seconds) * float(np.exp(generator.normal(0, NOISE))),
        })  # fmt: skip
    return {"device": "NVIDIA H200", "dtype": "bf16", "date": "a day", "rows": rows}


@pytest.fixture(scope="module")
def made(content: dict):
    return fit_own(content)


def test_finds_the_coefficients(made) -> None:
    truth = chosen_for(device(NAME).name).fit
    for name in ("compute", "bandwidth", "launch_s"):
        found, wanted = getattr(made.operators.gemms["bf16"], name), getattr(truth.gemms["bf16"], name)
        assert found == pytest.approx(wanted, rel=0.05), name
    for name in ("compute", "launch_s"):
        found = getattr(made.operators.prefills["torch"], name)
        assert found == pytest.approx(getattr(truth.prefills["torch"], name), rel=0.1), name
    for name, vector in made.operators.vectors.items():
        assert vector.launch_s == pytest.approx(truth.vectors[name].launch_s, rel=0.1), name
    assert made.operators.sustained == pytest.approx(STEADY)
    scale = made.stacks["cuda-graph"].scale
    assert scale["prefill"] == pytest.approx(SLOWER["prefill"], rel=0.03)
    assert scale["decode"] == pytest.approx(SLOWER["decode"], rel=0.03)


def test_says_how_far_it_is_off_on_families_left_out(made) -> None:
    for found in made.intervals["cuda-graph"].values():
        assert found["groups"] == len(MODELS)
        assert found["median_ape"] < 0.03
        assert 0.88 <= found["coverage"] <= 0.95


def test_the_file_predicts(made, tmp_path: Path) -> None:
    file = tmp_path / "fit.json"
    made.write(file)
    plain = predict("llama-2-13b", device=NAME, batch=4, prompt=512, output=64)
    own = predict("llama-2-13b", device=NAME, batch=4, prompt=512, output=64, fit=file)
    assert "fit.json" in own.provenance
    shipped = find_stack("cuda-graph").scale
    wanted = SLOWER["decode"] / shipped["decode"]
    # The residual that ships is not in the rows, so it is a little off too.
    assert own.decode_step_s / plain.decode_step_s == pytest.approx(wanted, rel=0.08)


def test_families_keep_relatives_together() -> None:
    assert family("mistral-7b") == family("llama-3-8b") == "llama"
    assert family("qwen3-8b") == family("qwen2.5-7b") != family("opt-13b")


def test_an_unknown_device_takes_what_its_rows_reached(content: dict) -> None:
    found = fit_own({**content, "device": "Some GPU"})
    assert found.device.name == "Some GPU"
    peak = device(NAME).peak_flop_per_s("bf16")
    assert 0.5 * peak < found.device.peak_flop_per_s("bf16") <= 1.01 * peak
    assert any("not in the table" in note for note in found.notes)


def test_too_few_rows_are_refused(content: dict, tmp_path: Path) -> None:
    gemms = [row for row in content["rows"] if row["kind"] == "gemm"]
    with pytest.raises(BadInput, match="5 rows of products"):
        fit_own({**content, "rows": gemms[:5]})
    with pytest.raises(BadInput, match="no products"):
        fit_own({**content, "rows": []})
    few = [row for row in content["rows"] if row["kind"] != "pass"]
    few += [row for row in content["rows"] if row["kind"] == "pass"][:3]
    assert any("fewer than" in note for note in fit_own({**content, "rows": few}).notes)
    older = [row for row in content["rows"] if row.get("name") != "rms"]
    assert any("torch.rms was not measured" in note for note in fit_own({**content, "rows": older}).notes)
    for text in ("", "{}", '{"rows": [{"latency_s": -1, "kind": "gemm"}], "device": "x", "dtype": "bf16"}'):
        file = tmp_path / "rows.json"
        file.write_text(text)
        with pytest.raises(BadInput, match=r"rows\.json"):
            read_collected(file)
    with pytest.raises(BadInput, match="no such file"):
        read_collected(tmp_path / "absent.json")
    (tmp_path / "good.json").write_text(json.dumps(content))
    assert read_collected(tmp_path / "good.json")["device"] == "NVIDIA H200"


@pytest.fixture(scope="module")
def cpu_file(content: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same rows in fp32 on some CPU, its passes too few for a stack."""
    rows = [row for row in content["rows"] if row["kind"] != "pass"]
    file = tmp_path_factory.mktemp("cpu") / "cpu.json"
    fit_own({**content, "device": "Some CPU", "dtype": "fp32", "rows": rows}).write(file)
    return file


def test_a_fit_decides_device_dtype_and_stack(made, cpu_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "fit.json"
    made.write(file)
    short = predict("opt-1.3b", batch=4, prompt=512, output=64, fit=file)
    long = predict(
        "opt-1.3b", device=NAME, batch=4, prompt=512, output=64, stack="cuda-graph", dtype="bf16", fit=file
    )
    assert short == long
    assert short.notes == ()
    cpu = predict("opt-1.3b", prompt=512, output=64, fit=cpu_file)
    assert cpu.device == "Some CPU"
    assert cpu == predict("opt-1.3b", prompt=512, output=64, dtype="fp32", fit=cpu_file)


def test_what_stands_in_for_what_a_fit_lacks_is_said(made, cpu_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "fit.json"
    made.write(file)
    cases = [
        (cpu_file, {}, "no stack"),
        (file, {"stack": "eager"}, "no stack"),
        (file, {"dtype": "fp8"}, "fp8"),
    ]
    for path, options, said in cases:
        found = predict("opt-1.3b", fit=path, **options)
        assert any(said in note and "stand in" in note for note in found.notes), (options, found.notes)
        plain = predict("opt-1.3b", device=NAME, stack=options.get("stack"))
        assert found.decode.high_s / found.decode.time_s > plain.decode.high_s / plain.decode.time_s


def test_another_device_than_the_fit_is_refused(cpu_file: Path) -> None:
    with pytest.raises(BadInput, match=r"H100.*Some CPU"):
        predict("opt-1.3b", device="H100", fit=cpu_file)
    with pytest.raises(BadInput, match="no device"):
        predict("opt-1.3b")
    with pytest.raises(BadInput, match="magic"):
        predict("opt-1.3b", stack="magic", fit=cpu_file)
