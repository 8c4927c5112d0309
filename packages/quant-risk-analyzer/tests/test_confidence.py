"""Chances, borders and the edge of noise against plain calculations."""

import math

import numpy as np
import pytest
import torch

from quant_risk_analyzer import Thresholds, rate
from quant_risk_analyzer import risk as estimates
from quant_risk_analyzer.confidence import (
    OF_TIER,
    border_of_worst,
    calibrations,
    edge_ratio,
    place_factors,
    sum_interval,
    top_decile_chances,
)
from quant_risk_analyzer.sites import linear_sites


def test_the_border_lies_between_the_worst_tenth_and_the_rest():
    risks = 2.0 ** np.arange(20)
    assert border_of_worst(risks) == pytest.approx(math.sqrt(2.0**18 * 2.0**17))
    assert border_of_worst(np.array([3.0, 12.0, 1.0])) == pytest.approx(6)


def test_chances_follow_the_logistic_curve_of_the_tier():
    risks = {f"layer{at}": 3.0**at for at in range(20)}
    for tier in OF_TIER:
        fit = calibrations()[tier]
        found = top_decile_chances(risks, tier)
        border = math.sqrt(3.0**18 * 3.0**17)
        for name, risk in risks.items():
            logit = fit.intercept + fit.slope * math.log(risk / border)
            assert found[name] == pytest.approx(1 / (1 + math.exp(-logit)), rel=1e-9)
    assert all(math.isnan(each) for each in top_decile_chances({"a": 1.0, "b": 2.0}, tier).values())


def test_sums_have_the_interval_of_the_tier(tiny):
    report = rate(tiny, formats="int4", tokens=128, context=16)
    found, fit = report.summary["formats"]["int4"], calibrations()["own samples"]
    low, high = sum_interval(found["total_risk"], "own samples")
    assert (found["total_damage_low"], found["total_damage_high"]) == (low, high)
    assert math.log(high / low) == pytest.approx(fit.sum_log_high - fit.sum_log_low)
    assert f"{low:.2g} to {high:.2g}" in found["text"]


def test_without_data_the_place_of_a_layer_counts_and_with_a_text_it_does_not(tiny, text, monkeypatch):
    """Also where a glob chooses some layers: the place is that among all of the model's."""
    blocks = max(int(name.split(".")[1]) for name in linear_sites(tiny))
    chosen = {"tokens": 128, "context": 16, "formats": "int4", "layers": "*.[12].*"}
    found = {tier: rate(tiny, **chosen, **more).risks("int4") for tier, more in _tiers(text)}
    monkeypatch.setattr(estimates, "place_factors", lambda names, tier: dict.fromkeys(names, 1.0))
    for tier, more in _tiers(text):
        fit, sampled = calibrations()[tier], rate(tiny, **chosen, **more).risks("int4")
        for name, value in sampled.items():
            place = int(name.split(".")[1]) / blocks
            assert found[tier][name] == pytest.approx(
                value * math.exp(fit.place_intercept + fit.place_slope * place)
            )
    assert calibrations()["own samples"].place_slope > 0
    assert calibrations()["calibration text"].place_slope == 0
    assert set(place_factors(["alone"], "own samples")) == {"alone"}


def _tiers(text):
    return ("own samples", {}), ("random tokens", {"rounds": 0}), ("calibration text", {"calibration": text})


def test_noise_lies_at_its_edge_and_structure_above():
    generator = np.random.default_rng(0)
    noise = generator.standard_normal((300, 500))
    assert edge_ratio(np.linalg.svd(noise, compute_uv=False), noise.shape) == pytest.approx(1, abs=0.02)
    spiked = noise + 0.2 * np.outer(generator.standard_normal(300), generator.standard_normal(500))
    assert edge_ratio(np.linalg.svd(spiked, compute_uv=False), spiked.shape) > 1.5
    assert edge_ratio(np.zeros(3), (3, 4)) == 0


def test_random_weights_get_no_confidence(tiny):
    """The fixture is untrained; a spike in every layer makes it look like a model that learned something."""
    report = rate(tiny, formats="int4", tokens=512, context=16)
    assert report.confidence == "none"
    assert "the weights look random" in report.caveats[0]
    with torch.no_grad():
        for layer in tiny.linear_layers().values():
            out, into = layer.weight.shape
            spike = torch.ones(out, 1).double() @ torch.randn(1, into).double()
            layer.weight += 0.4 * spike
    assert rate(tiny, formats="int4", tokens=512, context=16).confidence == "medium"


def test_grades_by_rank(tiny):
    limits = Thresholds(by="rank", unlikely=0.1, likely=0.4)
    report = rate(tiny, formats="int3", tokens=256, context=16, thresholds=limits)
    chances = top_decile_chances(report.risks("int3"), "own samples")
    for layer in report.layers:
        chance = layer.formats["int3"].top_decile
        assert chance == chances[layer.name]
        assert layer.formats["int3"].rating == ("A" if chance <= 0.1 else "C" if chance >= 0.4 else "B")
