"""The measured times of an audit: what the manual says of them is what the file holds."""

import json
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2]
RESULTS = PACKAGE / "benchmarks" / "results" / "audit_cpu.json"
MANUAL = PACKAGE.parents[1] / "docs" / "tools" / "stable-ops" / "cli.md"
pytestmark = pytest.mark.skipif(not RESULTS.is_file(), reason="the benchmarks are not beside the tests")
LIMIT_MS = 2.0


def table() -> str:
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"]
    lines = [
        "| model | width | tokens | plain, ms | watched, ms | audited, ms | ratio |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in rows:
        cells = f"{r['plain_ms']:.2f} | {r['watched_ms']:.2f} | {r['audited_ms']:.2f} | {r['ratio']:.2f}"
        lines.append(f"| {r['model']} | {r['width']} | {r['tokens']} | {cells} |")
    return "\n".join(lines)


def test_three_times_a_plain_forward_from_two_milliseconds_on():
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"]
    large = [r for r in rows if r["plain_ms"] >= LIMIT_MS]
    assert len(large) >= 6
    assert max(r["ratio"] for r in large) <= 3
    assert all(r["watched_ms"] < r["audited_ms"] for r in rows)
    smallest = min((r for r in rows if r["model"] == "encoder layer"), key=lambda r: r["plain_ms"])
    assert smallest["watched_ms"] > 3 * smallest["plain_ms"], (
        "the manual says that three times is out of reach"
    )
    assert all(r["ratio"] == pytest.approx(r["audited_ms"] / r["plain_ms"]) for r in rows)


@pytest.mark.skipif(not MANUAL.is_file(), reason="the documents are not beside the tests")
def test_the_manual_shows_the_file():
    written = MANUAL.read_text(encoding="utf-8")
    shown = written.split("<!-- audit_cpu.json -->\n")[1].split("\n<!-- end -->")[0]
    assert shown == table()
    assert f"forwards of {LIMIT_MS:g} ms and more" in written
