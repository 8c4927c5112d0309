"""The command with the real predictor: exit codes, JSON, the report, the comparison with a revision."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


def gate(*arguments, folder):
    command = [
        sys.executable,
        "-c",
        "from latency_gate.cli import main; main()",
        "check",
        *map(str, arguments),
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_within_budget(write_gate, entry):
    path = write_gate(entry("max_ms = 1e6"))
    done = gate("--json", folder=path.parent)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    (model,) = answer["models"]
    assert answer["over"] == 0
    assert model["over"] == []
    assert 0 < model["low_s"] <= model["total_s"] <= model["high_s"]
    assert model["total_s"] >= model["prefill_s"] + 30 * model["decode_step_s"] * 0.99


def test_over_budget_fails_with_the_reason(write_gate, entry):
    path = write_gate(entry("max_ms = 0.001"))
    done = gate(path, folder=path.parent)
    assert done.returncode == 1
    assert "chat: the request takes" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_budget_between_two_devices_separates_them(write_gate):
    table = '[[model]]\nname = "{0}"\nmodel = "opt-30b"\ndevice = "{0}"\nmax_ms = {1}\n'
    devices = ["A100-80GB", "H100-SXM"]
    done = gate("--json", write_gate("".join(table.format(device, 1e9) for device in devices)), folder=".")
    if done.returncode == 2 and "H100-SXM" in done.stderr:
        pytest.fail(f"the device table changed its names: {done.stderr}")
    totals = {model["device"]: model["total_s"] for model in json.loads(done.stdout)["models"]}
    assert totals["H100-SXM"] < totals["A100-80GB"]
    middle_ms = 500 * sum(totals.values())
    done = gate(
        "--json", write_gate("".join(table.format(device, middle_ms) for device in devices)), folder="."
    )
    assert done.returncode == 1
    verdicts = {model["device"]: bool(model["over"]) for model in json.loads(done.stdout)["models"]}
    assert verdicts == {"A100-80GB": True, "H100-SXM": False}


def test_markdown_for_a_comment(write_gate, entry):
    path = write_gate(entry("max_ms = 0.001"))
    done = gate("--output", "comment.md", folder=path.parent)
    assert done.returncode == 1
    text = (path.parent / "comment.md").read_text()
    assert "| chat | A100-80GB | request |" in text
    assert "1 of 1 models over a limit" in text
    assert "chat: the request takes" in text


@pytest.mark.parametrize(
    "text",
    [
        "",
        '[[model]]\nmodel = "opt-30b"\ndevice = "abacus"\nmax_ms = 1',
        '[[model]]\nmodel="nope"\ndevice="A100-80GB"\nmax_ms=1',
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(write_gate, text):
    path = write_gate(text)
    before = sorted(path.parent.iterdir())
    done = gate("--output", "report.md", folder=path.parent)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert sorted(path.parent.iterdir()) == before


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(write_gate, entry):
    """A repository whose committed model has 12 layers and whose working tree has 24."""
    path = write_gate(entry("max_ms = 1e6"), layers=12)
    git(path.parent, "init", "-q")
    git(path.parent, "add", ".")
    git(path.parent, "commit", "-q", "-m", "base")
    write_gate(entry("max_ms = 1e6"), layers=24)
    return path


def test_base_shows_old_and_new(repository):
    done = gate("--base", "HEAD", "--json", folder=repository.parent)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    lines = {line["quantity"]: line for line in answer["lines"]}
    # Twice the layers, the same embedding and head: between a half and all of twice the time.
    assert 1.5 < lines["request"]["new_ms"] / lines["request"]["old_ms"] <= 2.0
    assert lines["request"]["budget_ms"] == 1e6


def test_what_did_not_change_is_not_judged(repository, write_gate, entry):
    write_gate(entry("max_ms = 1e6"), layers=12)
    done = gate("--base", "HEAD", "--json", folder=repository.parent)
    answer = json.loads(done.stdout)
    assert (answer["models"], answer["unchanged"]) == ([], ["chat"])
    everything = json.loads(gate("--base", "HEAD", "--all", "--json", folder=repository.parent).stdout)
    assert len(everything["models"]) == 1
    # A change of the traffic is a change.
    write_gate(entry("max_ms = 1e6").replace("batch = 4", "batch = 5"), layers=12)
    assert json.loads(gate("--base", "HEAD", "--json", folder=repository.parent).stdout)["unchanged"] == []


def test_growth_is_limited_against_the_base(repository, write_gate, entry):
    write_gate(entry("max_growth_percent = 10"), layers=24)
    done = gate("--base", "HEAD", folder=repository.parent)
    assert done.returncode == 1
    assert "longer than the accepted" in done.stderr
    write_gate(entry("max_growth_percent = 150"), layers=24)
    assert gate("--base", "HEAD", folder=repository.parent).returncode == 0


def test_base_without_the_file_is_new(repository, entry):
    git(repository.parent, "rm", "-q", "--cached", "gate.toml")
    git(repository.parent, "commit", "-q", "-m", "no gate yet")
    done = gate("--base", "HEAD", folder=repository.parent)
    assert done.returncode == 0
    assert "new" in done.stdout


def test_a_broken_base_does_not_stop_the_repair(repository, write_gate, entry):
    repository.write_text("[[model")
    git(repository.parent, "commit", "-q", "-a", "-m", "broken")
    write_gate(entry("max_ms = 1e6"))
    done = gate("--base", "HEAD", folder=repository.parent)
    assert done.returncode == 0
    assert "no comparison" in done.stdout


@pytest.mark.parametrize("revision", ["nowhere", "--help", ""])
def test_unknown_revision(repository, revision):
    done = gate(f"--base={revision}", folder=repository.parent)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
