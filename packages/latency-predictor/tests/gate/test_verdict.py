"""The comparison with a budget, on predictions that the test makes up."""

import math
from dataclasses import dataclass

import pytest

from latency_predictor.gate import judge, read_accepted, read_gate, write_accepted
from latency_predictor.gate.accepted import accepted_path
from mfi_command import BadInput


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
    given = {"device": "A100-80GB", "batch": 4, "prompt": 256, "output": 32, "tensor_parallel": 1}
    given |= {"stack": "eager", "weight_dtype": "int8"}
    assert asked == [(str(path.parent / "config.json"), given)]


@pytest.mark.parametrize(("factor", "over"), [(1.0, False), (1.049, False), (1.051, True), (0.5, False)])
def test_growth_over_the_accepted_values(write_gate, entry, factor, over):
    path = write_gate(entry("max_growth_percent = 5"))
    place = accepted_path(path)
    assert read_accepted(place) == {}
    assert judged(path, accepted={})[0].over == ()  # nothing accepted, nothing to grow from
    write_accepted(place, judged(path))
    accepted = read_accepted(place)
    assert accepted["chat"] == {"prefill_s": 0.010, "decode_step_s": 0.002, "total_s": 0.074}
    grown = Answer(prefill_s=0.010 * factor, decode_step_s=0.002, total_s=0.074 * factor)
    (verdict,) = judged(path, grown, accepted=accepted)
    assert bool(verdict.over) is over
    assert verdict.growth() == pytest.approx(factor - 1)
    if over:
        assert len(verdict.over) == 2
        assert "longer than the accepted 10 ms" in verdict.over[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"models": {"chat": {}}}',
        '{"models": {"chat": {"prefill_s": -1, "decode_step_s": 1, "total_s": 1}}}',
    ],
)
def test_accepted_values_of_another_form(tmp_path, text):
    file = tmp_path / "gate.accepted.json"
    file.write_text(text)
    with pytest.raises(BadInput, match=r"gate\.accepted\.json"):
        read_accepted(file)
