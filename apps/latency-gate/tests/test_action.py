"""The action's script on two commits of a small repository, as a runner calls it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from latency_predictor.gate.testing import CONFIG

SCRIPT = Path(__file__).parents[1] / "run.sh"
GATE = """
[[model]]
name = "chat"
model = "models/chat/config.json"
device = "A100-80GB"
batch = 4
max_ms = {limit}

[[model]]
name = "other"
model = "opt-1.3b"
device = "A100-80GB"
max_ms = 1e6
"""


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def commit(folder: Path, message: str, *, layers: int, limit: float) -> None:
    (folder / "models" / "chat").mkdir(parents=True, exist_ok=True)
    config = {**CONFIG, "num_hidden_layers": layers}
    (folder / "models" / "chat" / "config.json").write_text(json.dumps(config))
    (folder / "gate.toml").write_text(GATE.format(limit=limit))
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", message)


def action(folder: Path, runner: Path, base: str) -> tuple[subprocess.CompletedProcess[str], str, dict, dict]:
    """Run the script; give the process, the summary, the SARIF log and the outputs."""
    runner.mkdir()
    environment = {
        **os.environ,
        "GATE": "gate.toml",
        "BASE": base,
        "CAUTIOUS": "false",
        "GATE_COMMAND": f"{sys.executable} -m latency_gate",
        "RUNNER_TEMP": str(runner),
        "GITHUB_STEP_SUMMARY": str(runner / "summary.md"),
        "GITHUB_OUTPUT": str(runner / "output"),
    }
    done = subprocess.run(["bash", str(SCRIPT)], cwd=folder, env=environment, capture_output=True, text=True)
    outputs = dict(line.split("=", 1) for line in (runner / "output").read_text().splitlines())
    log = json.loads(Path(outputs["sarif"]).read_text())
    return done, (runner / "summary.md").read_text(), log, outputs


def test_two_commits(tmp_path: Path) -> None:
    if not SCRIPT.is_file():
        pytest.skip("the action's script is not beside these tests")
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    commit(folder, "a model", layers=12, limit=500)
    commit(folder, "the same, wider traffic", layers=12, limit=600)
    done, summary, log, outputs = action(folder, tmp_path / "first", "HEAD~1")
    assert done.returncode == 0, done.stderr
    assert "| chat | A100-80GB | request |" in summary
    assert "+0.0%" in summary
    assert "other" in summary.split("nothing of them changed:")[1]
    assert log["runs"][0]["results"] == []
    assert Path(outputs["report"]).read_text() == summary

    commit(folder, "four times the layers", layers=48, limit=600)
    done, summary, log, _ = action(folder, tmp_path / "second", "HEAD~1")
    assert done.returncode == 1
    assert "chat: the request takes" in done.stderr
    row = next(line for line in summary.splitlines() if "| request |" in line)
    old, new, change, budget, verdict = [cell.strip() for cell in row.strip("|").split("|")][3:8]
    assert float(new) > 600 == float(budget) > float(old)
    assert change.startswith("+")
    assert verdict == "over"
    (result,) = log["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "gate.toml"
