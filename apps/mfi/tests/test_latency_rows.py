"""The rows of the latency model hold on the committed file, and fail on one that is wrong."""

import json
from pathlib import Path

import pytest

from mfi.checks import latency_predictor as rows
from mfi.checks.registry import Skip


@pytest.fixture
def changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put a file with other passes in the place of the committed one."""
    original = rows.RESULTS / "h200.json"
    if not original.is_file():
        pytest.skip("benchmarks/results is not here")

    def change(what) -> None:
        content = json.loads(original.read_text())
        content["rows"] = [what(row) if row["kind"] == "pass" else row for row in content["rows"]]
        (tmp_path / "h200.json").write_text(json.dumps(content))
        monkeypatch.setattr(rows, "RESULTS", tmp_path)
        rows._unseen.cache_clear()
        monkeypatch.setattr(rows, "_recorded", rows._recorded.__wrapped__)

    yield change
    rows._unseen.cache_clear()


def test_a_family_that_is_slower_is_seen(changed) -> None:
    """Planted fault: OPT takes a third longer than it was measured to."""

    def slower(row: dict) -> dict:
        return {**row, "latency_s": row["latency_s"] * (1.33 if row["model"].startswith("opt") else 1)}

    changed(slower)
    assert not rows.unseen().passed
    assert not rows.latency_model().passed


def test_without_the_repository_they_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "RESULTS", tmp_path)
    monkeypatch.setattr(rows, "_recorded", rows._recorded.__wrapped__)
    rows._unseen.cache_clear()
    for row in (rows.unseen, rows.latency_model, rows.opt_30b):
        with pytest.raises(Skip):
            row()
