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


def test_measure_json_has_the_contract() -> None:
    data = json.loads(runner.invoke(app, ["measure", "--seconds", "0.5", "--json"]).stdout)
    for dtype, ridge in data["ridge_flop_per_byte"].items():
        assert ridge == pytest.approx(data["peaks_flop_per_s"][dtype] / data["bandwidth_bytes_per_s"])
    assert data["spread"]["bandwidth_bytes_per_s"]["runs"] >= 4
    assert "numpy" in data["versions"]


def test_figures_are_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for ending, magic in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        path = tmp_path / f"roofline.{ending}"
        done = runner.invoke(app, ["analyze", "gpt2", "--device", "L4", "--output", str(path)])
        assert done.exit_code == 0
        assert path.read_bytes().startswith(magic)


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
