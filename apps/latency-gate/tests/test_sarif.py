"""Findings in SARIF: one a limit, at the table of its model."""

import json

import pytest

from latency_gate import compare, sarif
from latency_gate.sarif import lines_of
from latency_predictor.gate import read_gate

TWO = """# traffic
[[model]]
name = "first"
model = "config.json"
device = "A100-80GB"
max_ms = 1e6

[[model]]
name = "second"
model = "config.json"
device = "A100-80GB"
max_ms = 1e-3
max_decode_ms = 1e-3
"""


@pytest.fixture
def found(write_gate):
    path = write_gate(TWO)
    return path, sarif(path, compare(read_gate(path), None).verdicts, root=path.parent)


def test_points_at_the_table(found):
    _, log = found
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    assert run["tool"]["driver"]["name"] == "latency-gate"
    rules = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    assert len(run["results"]) == 2
    for result in run["results"]:
        assert result["ruleId"] in rules
        assert result["level"] == "error"
        assert "second on A100-80GB" in result["message"]["text"]
        (place,) = result["locations"]
        assert place["physicalLocation"]["artifactLocation"]["uri"] == "gate.toml"
        assert place["physicalLocation"]["region"]["startLine"] == 8
    json.dumps(log)


def test_a_table_without_a_name_is_its_model():
    assert lines_of('[[model]]\nmodel = "opt-30b"\n') == {"opt-30b": 1}


def test_nothing_over_is_an_empty_log(write_gate):
    path = write_gate(TWO.replace("1e-3", "1e6"))
    log = sarif(path, compare(read_gate(path), None).verdicts, root=path.parent)
    assert log["runs"][0]["results"] == []
