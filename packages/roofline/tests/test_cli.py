"""The command: its JSON, its figure, and one line with exit code 2 for bad input."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from roofline.cli import app

runner = CliRunner()


def test_analyze_json_has_the_contract() -> None:
    done = runner.invoke(app, ["analyze", "opt-30b", "--device", "A100-80GB", "--phase", "decode", "--json"])
    assert done.exit_code == 0
    data = json.loads(done.stdout)
    assert data["schema_version"] == 1
    assert {"name", "flop", "bytes", "intensity", "bound", "time_s"} <= set(data["operators"][0])
    assert data["total_time_s"] == pytest.approx(sum(row["time_s"] for row in data["operators"]))
    assert data["inputs"]["model"] == "opt-30b"


def test_devices_json_has_the_contract() -> None:
    data = json.loads(runner.invoke(app, ["devices", "--name", "A100-80GB", "--json"]).stdout)
    assert data["ridge_flop_per_byte"]["bf16"] == 156
    assert data["bandwidth_bytes_per_s"] == 2e12
    assert len(json.loads(runner.invoke(app, ["devices", "--json"]).stdout)["devices"]) >= 30


def test_measure_json_has_the_contract(ceilings, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("roofline.measurement.measure", lambda **options: asked.append(options) or ceilings)
    data = json.loads(runner.invoke(app, ["measure", "--seconds", "0.5", "--json"]).stdout)
    for dtype, ridge in data["ridge_flop_per_byte"].items():
        assert ridge == pytest.approx(data["peaks_flop_per_s"][dtype] / data["bandwidth_bytes_per_s"])
    assert (asked[0]["device"], asked[0]["seconds"]) == ("cpu", 0.5)
    assert data["spread"]["bandwidth_bytes_per_s"]["runs"] >= 4
    assert "numpy" in data["versions"]


def test_figures_are_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for ending, magic in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        path = tmp_path / f"roofline.{ending}"
        done = runner.invoke(app, ["analyze", "gpt2", "--device", "L4", "--output", str(path)])
        assert done.exit_code == 0
        assert path.read_bytes().startswith(magic)


def test_what_if_json_has_the_contract() -> None:
    line = ["what-if", "llama-3-8b", "--device", "H100", "--phase", "decode", "--json"]
    done = runner.invoke(app, [*line, "--change", "bandwidth=2", "--change", "kv=fp8"])
    data = json.loads(done.stdout)
    assert [entry["change"] for entry in data["changes"]] == [
        "bandwidth=2",
        "kv=fp8",
        "bandwidth=2 and kv=fp8",
    ]
    assert data["changes"][0]["speed_up"] == pytest.approx(2)


def test_sweep_and_kernels_json_have_the_contract(tmp_path: Path) -> None:
    data = json.loads(runner.invoke(app, ["sweep", "llama-3-8b", "--device", "H100", "--json"]).stdout)
    assert data["points"][-1]["batch"] >= data["ridge_batch"] > 200
    table = tmp_path / "table.csv"
    table.write_text("name,flop,bytes,time_s\na,1e9,1e6,1e-5\n")
    chart = tmp_path / "chart.html"
    done = runner.invoke(app, ["kernels", str(table), "--device", "H100", "--chart", str(chart), "--json"])
    assert json.loads(done.stdout)["operators"][0]["of_roof"] == pytest.approx(1e9 / 989e12 / 1e-5, rel=1e-3)
    assert chart.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    "arguments",
    [
        ["analyze", "no-such-model", "--device", "A100"],
        ["analyze", "gpt2", "--device", "no-such-device"],
        ["analyze", "gpt2", "--device", "A100", "--batch", "0"],
        ["analyze", "gpt2", "--device", "A100", "--batch", "1" + "0" * 50],
        ["analyze", "gpt2", "--device", "A100", "--devices", "absent.toml"],
        ["analyze", "EMPTY", "--device", "A100"],
        ["analyze", "NAN", "--device", "A100"],
        ["analyze", "gpt2", "--device", "A100", "--traced", "--weight-dtype", "int4"],
        ["analyze", "gpt2", "--device", "A100", "--tensor-parallel", "5"],
        ["analyze", "gpt2", "--device", "A100", "--launch-us", "nan"],
        ["analyze", "gpt2", "--device", "A100", "--chart", "chart.png"],
        ["analyze", "absent.py:case", "--device", "A100"],
        ["kernels", "absent.csv", "--device", "A100"],
        ["kernels", "EMPTY", "--device", "A100"],
        ["what-if", "gpt2", "--device", "A100", "--change", "luck=2"],
        ["sweep", "gpt2", "--device", "A100", "--sequence", "0"],
        ["measure", "--seconds", "nan"],
        ["measure", "--device", "abacus"],
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "EMPTY").write_text("")
    (tmp_path / "NAN").write_text('{"model_type": "llama", "hidden_size": NaN}')
    made = [str(tmp_path / word) if word in ("EMPTY", "NAN") else word for word in arguments]
    output = tmp_path / "out.json"
    done = runner.invoke(app, [*made, "--output", str(output)])
    assert done.exit_code == 2, done.output
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""
    assert not output.exists()


def test_help_starts_fast_and_without_torch() -> None:
    code = (
        "import sys; from roofline.cli import app\n"
        "from typer.testing import CliRunner\n"
        "code = CliRunner().invoke(app, ['analyze', '--help']).exit_code\n"
        "print(code, 'torch' in sys.modules, 'numpy' in sys.modules)"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "False", "False"], time.perf_counter() - start
