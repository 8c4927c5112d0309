"""The commands as a user runs them: what they print, write and refuse."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from quant_risk_analyzer import measure, rate
from quant_risk_analyzer.cli import app


def run(*arguments):
    return CliRunner().invoke(app, [str(each) for each in arguments])


def answer(*arguments):
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_rate_answers_what_the_library_does(folder):
    found = answer("rate", folder, "--formats", "int8,int3", "--tokens", 256, "--seed", 3)
    expected = rate(str(folder), formats="int8,int3", tokens=256, seed=3).to_dict()
    for key in ("layers", "denylist", "summary", "tier", "confidence"):
        assert found[key] == json.loads(json.dumps(expected[key])), key
    assert (found["tool"], found["command"], found["tier"]) == (
        "quant-risk-analyzer",
        "rate",
        "own samples",
    )
    assert len(found["layers"]) == 14
    assert found["layers"][0]["name"] == "model.layers.0.self_attn.q_proj"
    assert set(found["layers"][0]["formats"]["int3"]) >= {
        "risk",
        "rating",
        "snr_db",
        "relative_error",
        "drift",
        "reasons",
    }


def test_rate_runs_on_a_calibration_text(folder, words):
    found = answer("rate", folder, "--formats", "int4", "--tokens", 256, "--calibration", words)
    assert found["tier"] == "calibration text"
    # The folder's weights are random numbers: there is an order of the risks, and nothing to learn from it.
    assert found["confidence"] == "none"
    assert "the weights look random" in found["caveats"][0]


@pytest.mark.parametrize("ending", ["csv", "md", "html", "json"])
def test_rate_writes_a_report(folder, tmp_path, ending):
    target = tmp_path / f"risk.{ending}"
    assert run("rate", folder, "--tokens", 64, "-o", target).exit_code == 0
    assert "model.layers.1.mlp.down_proj" in target.read_text()


def test_rate_draws_a_figure(folder, tmp_path):
    pytest.importorskip("matplotlib")
    target = tmp_path / "risk.svg"
    assert run("rate", folder, "--tokens", 64, "-o", target).exit_code == 0
    assert "nats per token" in target.read_text()


def test_the_gate(folder):
    passed = run("rate", folder, "--tokens", 64, "--formats", "int8", "--fail-on", "C", "--risky", 1e3)
    assert passed.exit_code == 0
    failed = run(
        "rate",
        folder,
        "--tokens",
        64,
        "--formats",
        "int3",
        "--fail-on",
        "C",
        "--safe",
        1e-12,
        "--risky",
        1e-11,
    )
    assert failed.exit_code == 1
    assert "14 layers are rated C or worse: model.layers.0" in failed.stderr
    assert "and 11 more" in failed.stderr


def test_measure_answers_what_the_library_does(folder, words):
    found = answer(
        "measure", folder, "--text", words, "--formats", "int4", "--max-tokens", 200, "--context", 50
    )
    expected = measure(str(folder), words.read_text(), formats="int4", max_tokens=200, context=50)
    assert {each["name"]: each["kl"] for each in found["layers"]} == expected.kl("int4")
    assert found["loss"] == expected.loss


def test_allocate_and_drift(folder, words):
    found = answer("allocate", folder, "--average-bits", 6, "--tokens", 64, "--evaluate", words)
    assert found["average_bits"] <= 6
    assert found["measured"]["kl"] > 0
    assert found["predicted_loss_increase"] >= found["lower_bound"] > 0
    rows = answer("drift", folder, "--formats", "int3")["layers"]
    assert len(rows) == 14
    assert all(row["exceeds"] == (row["measured"] > 0.1) for row in rows)
    assert any(row["exceeds"] for row in rows)


def test_verify_prints_what_the_rating_achieved(folder, words):
    options = ("rate", folder, "--formats", "int3", "--tokens", 256, "--verify", 5, "--evaluate", words)
    found = answer(*options)["verification"]
    assert len(found["layers"]) == 5
    rho = found["formats"]["int3"]["rank_correlation"]
    assert f"rank correlation of risk and measured KL {rho:.2f}" in run(*options).stdout


def test_compare_and_its_gate(folder, tmp_path):
    options = ("--formats", "int4", "--tokens", 64)
    same = answer("compare", folder, folder, *options)
    assert len(same["changes"]) == 14
    assert {each["factor"] for each in same["changes"]} == {1.0}
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    path = other / "model.safetensors"
    raw = bytearray(path.read_bytes())
    # Behind the last weight of a linear layer lie two norms of 16 numbers.
    raw[-132:-128] = np.float32(40).tobytes()
    path.write_bytes(bytes(raw))
    changed = answer("compare", folder, other, *options)["changes"][0]
    assert changed["factor"] > 2
    limits = ("--safe", changed["risk_before"] * 1.01, "--risky", changed["risk_after"] * 0.99)
    failed = run("compare", folder, other, *options, *limits, "--fail-on-worse")
    assert failed.exit_code == 1
    assert changed["name"] in failed.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["rate", "MODEL", "--formats", "int9"], "unknown number format 'int9'"),
        (["rate", "MODEL", "--layers", "nothing"], "no linear layer matches 'nothing'"),
        (["rate", "MODEL", "--fail-on", "D"], "expected B or C"),
        (["rate", "MODEL", "--granularity", "row"], "granularity 'row'"),
        (["rate", "MODEL", "--calibration", "EMPTY"], "empty"),
        (["rate", "MODEL", "--safe", "1e300", "--risky", "1e301"], None),
        (["rate", "MODEL", "--risky", "inf"], "0 < safe < risky"),
        (["rate", "nowhere"], "nowhere"),
        (["rate", "MODEL", "--by", "size"], "grades by 'size': expected risk or rank"),
        (["rate", "MODEL", "--evaluate", "WORDS"], "--evaluate without --verify K"),
        (
            ["rate", "MODEL", "--calibration", "WORDS", "--verify", "4", "--evaluate", "WORDS"],
            "give a text that the rating has not seen",
        ),
        (["rate", "MODEL", "--tokens", "64", "--formats", "int4", "--verify", "2"], "at least 3"),
        (["compare", "MODEL", "nowhere"], "nowhere"),
        (["allocate", "MODEL"], "exactly one of --average-bits, --total-bytes and --max-loss"),
        (["measure", "MODEL", "--text", "nowhere.txt"], "nowhere.txt"),
        (["measure", "MODEL", "--text", "WORDS", "--context", "100000"], "too few"),
        (["allocate", "MODEL", "--average-bits", "1"], "raise the budget"),
        (["drift", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(folder, words, tmp_path, arguments, says):
    (tmp_path / "empty.txt").write_text("")
    names = {"MODEL": folder, "WORDS": words, "EMPTY": tmp_path / "empty.txt"}
    target = tmp_path / "out.json"
    result = run(*(names.get(each, each) for each in arguments), "-o", target)
    if says is None:  # huge but meaningful numbers work
        assert result.exit_code == 0
        return
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert not target.exists()


def test_a_nan_weight_is_refused(folder):
    path = folder / "model.safetensors"
    raw = bytearray(path.read_bytes())
    # Behind the last weight of a linear layer lie two norms of 16 numbers.
    raw[-132:-128] = np.float32("nan").tobytes()
    path.write_bytes(bytes(raw))
    result = run("rate", folder)
    assert result.exit_code == 2
    assert "NaN" in result.stderr
    assert result.stderr.count("\n") == 1
    finished = run("drift", folder, "--formats", "int8", "--json")
    assert finished.exit_code == 1
    assert "1 weights hold NaN" in finished.stderr
    assert len(json.loads(finished.stdout)["layers"]) == 13


def test_help_and_import_load_no_torch():
    code = "import sys, quant_risk_analyzer.cli; print([m for m in sys.modules if m in %r])"
    loaded = subprocess.run(
        [sys.executable, "-c", code % (["torch", "matplotlib", "transformers"],)],
        capture_output=True,
        text=True,
    )
    assert loaded.stdout.strip() == "[]", loaded.stderr
    assert "Examples:" in run("rate", "--help").stdout
