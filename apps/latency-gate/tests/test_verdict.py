"""The comparison with a budget, on predictions that the test makes up."""

import math
from dataclasses import dataclass

import pytest

from latency_gate import judge, read_gate
from latency_gate.verdict import changes


@dataclass(frozen=True)
class Phase:
    high_s: float


@dataclass(frozen=True)
class Answer:
    prefill: Phase = Phase(0.012)
    decode: Phase = Phase(0.003)
    prefill_s: float = 0.010
    decode_step_s: float = 0.002
    total_s: float = 0.074
    low_s: float = 0.060
    high_s: float = 0.111


def judged(path, answer=None, **options):
    return judge(read_gate(path), predict=lambda model, **given: answer or Answer(), **options)


@pytest.mark.parametrize(
    ("budget", "over"),
    [
        ("max_ms = 74.1", False),
        ("max_ms = 73.9", True),
        ("max_prefill_ms = 10.1", False),
        ("max_prefill_ms = 9.9", True),
        ("max_decode_ms = 2.01", False),
        ("max_decode_ms = 1.99", True),
        ("max_ms = 100\nmax_decode_ms = 1.99", True),
    ],
)
def test_each_budget_limits_its_own_quantity(write_gate, entry, budget, over):
    (verdict,) = judged(write_gate(entry(budget)))
    assert bool(verdict.over) is over


def test_the_reason_names_both_numbers(write_gate, entry):
    (verdict,) = judged(write_gate(entry("max_ms = 70")))
    assert verdict.over == ("the request takes 74 ms, max_ms is 70",)


def test_cautious_judges_the_upper_end(write_gate, entry):
    path = write_gate(entry("max_ms = 100"))
    assert judged(path)[0].over == ()
    assert judged(path, cautious=True)[0].over == ("the request takes up to 111 ms, max_ms is 100",)


@pytest.mark.parametrize(
    ("budget", "over"),
    [
        ("max_prefill_ms = 12.1", False),
        ("max_prefill_ms = 11.9", True),
        ("max_decode_ms = 3.01", False),
        ("max_decode_ms = 2.99", True),
    ],
)
def test_cautious_takes_each_phase_by_its_own_interval(write_gate, entry, budget, over):
    assert bool(judged(write_gate(entry(budget)), cautious=True)[0].over) is over


def test_a_prediction_that_is_no_number_is_over(write_gate, entry):
    assert judged(write_gate(entry("max_ms = 70")), Answer(total_s=math.nan))[0].over


def test_the_traffic_reaches_the_predictor(write_gate, entry):
    asked = []
    path = write_gate(entry('max_ms = 70\nstack = "eager"\nweight_dtype = "int8"'))
    judge(read_gate(path), predict=lambda model, **given: asked.append((model, given)) or Answer())
    given = {"device": "A100-80GB", "batch": 4, "prompt": 256, "output": 32}
    given |= {"stack": "eager", "weight_dtype": "int8"}
    assert asked == [(str(path.parent / "config.json"), given)]


def test_change_since_the_base(write_gate, entry):
    path = write_gate(entry("max_ms = 70"))
    assert changes(judged(path), judged(path, Answer(total_s=0.037))) == {"chat": pytest.approx(1.0)}
    assert changes(judged(path), []) == {}
