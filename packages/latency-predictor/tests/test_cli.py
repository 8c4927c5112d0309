"""The command: its JSON, exit codes, and one line for bad input."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

import latency_predictor
from latency_predictor.cli import app

runner = CliRunner()
PREDICT = [
    "predict",
    "--model",
    "opt-30b",
    "--device",
    "A100-80GB",
    "--batch",
    "2",
    "--prompt",
    "64",
    "--output",
    "8",
]


def test_all_is_the_public_surface() -> None:
    public = {
        name
        for name, value in vars(latency_predictor).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert public - {"annotations", "TYPE_CHECKING", "Any", "Mapping", "Sequence"} == set(
        latency_predictor.__all__
    )


def test_predict_json_has_the_contract() -> None:
    done = runner.invoke(app, [*PREDICT, "--json"])
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)
    assert data["low_s"] < data["total_s"] < data["high_s"]
    assert data["total_s"] == pytest.approx(data["prefill_s"] + 7 * data["decode_step_s"])
    assert {part["phase"] for part in data["breakdown"]} == {"prefill", "decode"}
    assert data["inputs"]["output"] == 8


def test_advise_json_and_exit_codes() -> None:
    base = ["advise", "--model", "llama-3.2-1b", "--device", "H100", "--largest", "8", "--json"]
    done = runner.invoke(app, [*base, "--max-decode-ms", "50"])
    assert done.exit_code == 0
    data = json.loads(done.stdout)
    assert data["batch"] == 8
    assert data["tokens_per_s"] == max(point["tokens_per_s"] for point in data["curve"])
    assert runner.invoke(app, [*base, "--max-decode-ms", "0.001"]).exit_code == 1


def test_curve_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "curve.png"
    arguments = ["advise", "--model", "gpt2", "--device", "L4", "--largest", "8", "--max-decode-ms", "9"]
    assert runner.invoke(app, [*arguments, "--output", str(path)]).exit_code == 0
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "--model", "opt-66b", "--device", "A100-80GB"],
        ["predict", "--model", "no-such", "--device", "A100-80GB"],
        ["predict", "--model", "gpt2", "--device", "no-such"],
        ["predict", "--model", "gpt2", "--device", "A100", "--prompt", "9" * 40],
        ["predict", "--model", "EMPTY", "--device", "A100"],
        ["predict", "--model", "gpt2", "--device", "A100", "--stack", "magic"],
        ["advise", "--model", "gpt2", "--device", "A100", "--max-decode-ms", "nan"],
        ["fit", "absent.csv"],
        ["fit", "EMPTY"],
    ],
)
def test_bad_input_is_one_line(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "EMPTY").write_text("")
    made = [str(tmp_path / "EMPTY") if word == "EMPTY" else word for word in arguments]
    done = runner.invoke(app, made)
    assert done.exit_code == 2, done.output
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


def test_help_and_import_stay_light() -> None:
    code = (
        "import sys; from latency_predictor.cli import app\n"
        "from typer.testing import CliRunner\n"
        "code = CliRunner().invoke(app, ['predict', '--help']).exit_code\n"
        "import latency_predictor\n"
        "latency_predictor.predict('gpt2', device='L4')\n"
        "print(code, [m for m in ('torch', 'transformers', 'matplotlib', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "[]"]
