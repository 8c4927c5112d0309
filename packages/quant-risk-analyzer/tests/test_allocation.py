"""Allocations against the best of all assignments, enumerated."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfi_command import BadInput
from quant_risk_analyzer import FORMATS, FormatRisk, LayerRisk, RiskReport, Thresholds, allocate

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


@given(st.integers(0, 2**32), st.floats(3.3, 8.5))
def test_within_the_budget_and_near_the_best_of_all(seed, budget):
    report = made_report(seed, SEPARATE)
    found = allocate(report, average_bits=budget)
    assert found.average_bits == pytest.approx(size(report, found.assignment), rel=1e-12)
    assert found.average_bits <= budget * (1 + 1e-9)
    risk = {layer.name: layer.formats for layer in report.layers}
    everything = (dict(zip(risk, each, strict=True)) for each in itertools.product(NAMES, repeat=5))
    best = min(
        sum(risk[name][each].risk for name, each in assignment.items())
        for assignment in everything
        if size(report, assignment) <= budget
    )
    total = sum(risk[name][each].risk for name, each in found.assignment.items())
    assert found.predicted_loss_increase == pytest.approx(total)
    assert found.lower_bound <= best * (1 + 1e-9)
    assert best <= total * (1 + 1e-9)
    # The greedy walk loses at most the one step that did not fit.
    largest = max(max(each.risk for each in formats.values()) for formats in risk.values())
    assert total <= found.lower_bound + largest * (1 + 1e-9)


def test_more_bits_never_predict_more_damage():
    report = made_report(3, SEPARATE)
    totals = [allocate(report, average_bits=bits).lower_bound for bits in np.linspace(3.4, 8.4, 25)]
    assert all(later <= earlier * (1 + 1e-12) for earlier, later in itertools.pairwise(totals))


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
    assert apart.lower_bound <= together.lower_bound
    assert len(set(together.assignment.values())) > 1


def test_a_budget_below_the_smallest_format():
    with pytest.raises(
        BadInput, match=r"3\.1 bits per weight cannot hold these formats: the smallest take 3\.196"
    ):
        allocate(made_report(0, SEPARATE), average_bits=3.1)
