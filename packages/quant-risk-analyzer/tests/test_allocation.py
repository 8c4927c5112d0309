"""Allocations against the best of all assignments, enumerated."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfi_command import BadInput
from quant_risk_analyzer import FORMATS, FormatRisk, LayerRisk, RiskReport, Thresholds, allocate, quantize

NAMES = ("int3", "int4", "int8")


def made_report(seed, layers):
    """A report with drawn risks, falling with the bits in most layers."""
    generator = np.random.default_rng(seed)
    found = []
    for name, shape in layers:
        scale = 10.0 ** generator.uniform(-5, -2)
        risks = {each: scale * 4.0 ** -FORMATS[each].bits * generator.uniform(0.3, 3) for each in NAMES}
        formats = {
            each: FormatRisk(risk, risk, risk, "A", 0.0, 0.0, 0.0, True, ()) for each, risk in risks.items()
        }
        role = name.rpartition(".")[2].removesuffix("_proj")
        found.append(LayerRisk(name, shape, role, formats))
    return RiskReport(
        tuple(found), NAMES, "channel", "", "", 0, 0, 0, 0, Thresholds(), dict.fromkeys(NAMES, 1.0)
    )


def size(report, assignment):
    """Average bits by hand: codes, and a scale of 16 bits for each output channel."""
    bits = sum(
        layer.shape[0] * (layer.shape[1] * FORMATS[assignment[layer.name]].bits + 16)
        for layer in report.layers
    )
    return bits / sum(layer.shape[0] * layer.shape[1] for layer in report.layers)


SEPARATE = [
    (f"layer{at}", shape) for at, shape in enumerate([(64, 64), (64, 128), (32, 64), (128, 64), (64, 96)])
]


def every_assignment(report):
    """Risks and average bits of all assignments: each layer's choice is one axis of a sum."""
    choices = np.array(list(itertools.product(range(len(NAMES)), repeat=len(report.layers))))
    risks = np.array([[layer.formats[kind].risk for kind in NAMES] for layer in report.layers])
    bits = np.array(
        [
            [layer.shape[0] * (layer.shape[1] * FORMATS[kind].bits + 16) for kind in NAMES]
            for layer in report.layers
        ]
    )
    at = np.arange(len(report.layers))
    weights = sum(layer.shape[0] * layer.shape[1] for layer in report.layers)
    return risks[at, choices].sum(1), bits[at, choices].sum(1) / weights


@given(st.integers(0, 2**32), st.floats(3.3, 8.5))
def test_within_the_budget_and_the_best_of_all(seed, budget):
    report = made_report(seed, SEPARATE)
    found = allocate(report, average_bits=budget)
    assert found.average_bits == pytest.approx(size(report, found.assignment), rel=1e-12)
    assert found.average_bits <= budget * (1 + 1e-9)
    risks, bits = every_assignment(report)
    best = risks[bits <= budget].min()
    total = sum(layer.formats[found.assignment[layer.name]].risk for layer in report.layers)
    assert found.predicted_loss_increase == pytest.approx(total)
    assert total == pytest.approx(best, rel=1e-6)
    assert found.lower_bound <= total
    assert found.optimal


@given(st.integers(0, 2**32), st.floats(0, 1))
def test_the_fewest_bits_below_a_loss(seed, place):
    report = made_report(seed, SEPARATE)
    risks, bits = every_assignment(report)
    least, most = risks.min(), risks.max()
    limit = least * (most / least) ** place
    found = allocate(report, max_loss=limit)
    assert found.predicted_loss_increase <= limit * (1 + 1e-9)
    best = bits[risks <= limit * (1 + 1e-12)].min()
    assert found.average_bits == pytest.approx(best, rel=1e-6)


def test_bytes_are_those_of_the_codes_and_scales_of_quantized_weights():
    report = made_report(5, SEPARATE)
    found = allocate(report, total_bytes=17000)
    weights = {layer.name: np.random.default_rng(0).standard_normal(layer.shape) for layer in report.layers}
    bits = 0
    for name, kind in found.assignment.items():
        quantized = quantize(weights[name], kind)
        bits += quantized.codes.size * FORMATS[kind].bits + quantized.scales.size * 16
    assert found.total_bytes == bits / 8 <= 17000
    same = allocate(report, average_bits=17000 * 8 / sum(each.size for each in weights.values()))
    assert same.assignment == found.assignment


def test_more_bits_never_predict_more_damage():
    layers = [
        (f"layers.{at}.mlp.{name}", (64, 32 * (1 + at % 5))) for at in range(12) for name in ("fc1", "fc2")
    ]
    report = made_report(3, layers)
    found = [allocate(report, average_bits=bits) for bits in np.linspace(3.6, 8.6, 25)]
    assert all(each.optimal for each in found)
    totals = [each.predicted_loss_increase for each in found]
    assert all(later <= earlier for earlier, later in itertools.pairwise(totals))


def test_fused_layers_share_a_format():
    layers = [
        (f"model.layers.{block}.{name}_proj", (64, 64))
        for block in range(3)
        for name in ("q", "k", "v", "o", "gate", "up", "down")
    ]
    report = made_report(1, layers)
    together, apart = (allocate(report, average_bits=4.5, fused=each) for each in (True, False))
    for block in range(3):
        for group in (("q", "k", "v"), ("gate", "up")):
            assert len({together.assignment[f"model.layers.{block}.{name}_proj"] for name in group}) == 1
    assert apart.predicted_loss_increase <= together.predicted_loss_increase
    assert len(set(together.assignment.values())) > 1


def test_a_budget_below_the_smallest_format():
    with pytest.raises(
        BadInput, match=r"3\.1 bits per weight cannot hold these formats: the smallest take 3\.196"
    ):
        allocate(made_report(0, SEPARATE), average_bits=3.1)


def test_limits_that_make_no_sense():
    report = made_report(0, SEPARATE)
    with pytest.raises(BadInput, match="no assignment of these formats is below 1e-12"):
        allocate(report, max_loss=1e-12)
    for limits in ({}, {"average_bits": 4, "max_loss": 1}, {"total_bytes": -1}, {"max_loss": float("nan")}):
        with pytest.raises(BadInput, match="exactly one limit"):
            allocate(report, **limits)


def test_experts_of_a_block_share_a_format():
    layers = [
        (f"model.layers.{block}.mlp.experts.{expert}.{name}", (64, 64))
        for block in range(2)
        for expert in range(3)
        for name in ("w1", "w2", "w3")
    ]
    found = allocate(made_report(4, layers), average_bits=6.3)
    formats = [
        {kind for name, kind in found.assignment.items() if f"layers.{block}." in name} for block in (0, 1)
    ]
    assert [len(each) for each in formats] == [1, 1]
    assert formats[0] != formats[1]
