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
RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "h200.json"
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
        ["fit", "EMPTY", "--write", "x.json"],
        ["calibrate", "EMPTY", "--device", "A100"],
        ["calibrate", "absent.json", "--device", "A100"],
        ["check", "absent.toml"],
        ["check", "EMPTY"],
        ["collect", "EMPTY", "--device", "tpu"],
        ["advise", "--model", "gpt2", "--device", "A100"],
        ["advise", "--model", "gpt2", "--device", "A100", "--max-ttft-ms", "0"],
        ["predict", "--model", "gpt2", "--device", "A100", "--fit", "EMPTY"],
        ["predict", "--model", "gpt2", "--device", "A100", "--tensor-parallel", "5"],
        ["explain", "--model", "gpt2", "--device", "A100", "--batch", "0"],
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
        "heavy = ('torch', 'transformers', 'matplotlib', 'numpy', 'scipy')\n"
        "before = [m for m in heavy if m in sys.modules]\n"
        "latency_predictor.predict('gpt2', device='L4')\n"
        "print(code, before, [m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "[]", "['numpy']"]


def test_explain_calibrate_and_check(tmp_path: Path) -> None:
    done = runner.invoke(app, ["explain", "--model", "gpt2", "--device", "L4", "--json"])
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)
    steps = [step["time_ms"] for step in data["steps"] if step["phase"] == "prefill"]
    assert sum(steps) == pytest.approx(1e3 * data["prefill_s"], rel=0.01)

    rows = tmp_path / "rows.csv"
    rows.write_text("model,phase,batch,prompt,latency_s\nopt-13b,decode,1,100,0.02\n")
    own = tmp_path / "own.json"
    base = ["calibrate", str(rows), "--device", "A100-80GB", "--stack", "vllm", "--write", str(own), "--json"]
    done = runner.invoke(app, base)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["factor"] > 1
    step = {}
    for name, more in (("vllm", []), ("vllm-own", ["--fit", str(own)])):
        request = ["predict", "--model", "opt-30b", "--device", "A100-80GB", "--stack", name, "--json", *more]
        made = runner.invoke(app, request)
        assert made.exit_code == 0, made.output
        step[name] = json.loads(made.stdout)["decode_step_s"]
    assert step["vllm-own"] / step["vllm"] == pytest.approx(json.loads(done.stdout)["factor"], rel=1e-4)

    gate = tmp_path / "gate.toml"
    entry = '[[model]]\nname = "m"\nmodel = "{}"\ndevice = "H100"\nmax_growth_percent = 5\n'
    gate.write_text(entry.format("opt-2.7b"))
    assert runner.invoke(app, ["check", str(gate), "--accept"]).exit_code == 0
    assert runner.invoke(app, ["check", str(gate)]).exit_code == 0
    gate.write_text(entry.format("opt-6.7b"))
    done = runner.invoke(app, ["check", str(gate)])
    assert done.exit_code == 1
    assert "longer than the accepted" in done.stderr


def test_fit_of_collected_rows(tmp_path: Path) -> None:
    if not RESULTS.is_file():
        pytest.skip("benchmarks/results is not here")
    file = tmp_path / "fit.json"
    done = runner.invoke(app, ["fit", str(RESULTS), "--write", str(file), "--json"])
    assert done.exit_code == 0, done.output
    held = json.loads(done.stdout)["held_out"]["cuda-graph"]
    assert held["decode"]["median_ape"] < 0.05
    done = runner.invoke(
        app, ["predict", "--model", "opt-13b", "--device", "H200", "--fit", str(file), "--json"]
    )
    assert done.exit_code == 0, done.output
    assert "fit.json" in json.loads(done.stdout)["provenance"]
