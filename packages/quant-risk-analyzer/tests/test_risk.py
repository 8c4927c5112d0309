"""`rate` on a model whose damage is measured beside it."""

import numpy as np
import pytest
import torch

from mfi_command import BadInput
from quant_risk_analyzer import Thresholds, measure, quantize, rank_agreement, rate
from quant_risk_analyzer.reasons import channel_reasons, comparison_reasons, few_channels
from quant_risk_analyzer.risk import interval


def test_risk_is_the_kl_of_the_quantized_layer(tiny, text):
    """Same text for both, so that only the quadratic approximation and the sampling of labels differ."""
    report = rate(tiny, formats="int8", calibration=text, tokens=2000, context=40, probes=32)
    truth = measure(tiny, text, formats="int8", max_tokens=2000, context=40)
    for name, kl in truth.kl("int8").items():
        assert report.risks("int8")[name] == pytest.approx(kl, rel=0.35), name
    roles = {layer.name: layer.role for layer in report.layers}
    assert rank_agreement(report.risks("int8"), truth.kl("int8"), roles).overall > 0.95


def test_the_interval_covers_the_exact_risk(tiny):
    """Repeated with other labels: the intervals hold the mean of all in most cases."""
    reports = [rate(tiny, formats="int4", tokens=640, context=8, probes=2, seed=seed) for seed in range(12)]
    inside = total = 0
    for name in tiny.linear_layers():
        every = [report.layers[0].formats["int4"] for report in reports]
        every = [next(x for x in report.layers if x.name == name).formats["int4"] for report in reports]
        mean = np.mean([each.risk for each in every])
        inside += sum(each.risk_low <= mean <= each.risk_high for each in every)
        total += len(every)
    assert 0.85 <= inside / total <= 1


def test_interval_of_known_samples():
    samples = np.array([[1.0, 3.0], [2.0, 2.0], [5.0, 5.0]])
    mean, low, high = interval(samples)
    assert mean == pytest.approx(3)
    spread = np.std([2, 2, 5], ddof=1) / np.sqrt(3) / 3
    assert (low, high) == (
        pytest.approx(3 * np.exp(-1.96 * spread)),
        pytest.approx(3 * np.exp(1.96 * spread)),
    )
    assert interval(np.zeros((4, 2))) == (0, 0, 0)


def test_weight_figures_are_those_of_the_quantizer(tiny):
    report = rate(tiny, formats=("int4",), granularity=8, tokens=64, context=8)
    for layer in report.layers:
        weight = tiny.linear_layers()[layer.name].weight.detach().float()
        expected = quantize(weight, "int4", granularity=8)
        assert layer.formats["int4"].relative_error == pytest.approx(expected.relative_error)
        assert layer.formats["int4"].snr_db == pytest.approx(expected.snr_db)
        s, moved = (torch.linalg.svdvals(each)[: 16 // 2] for each in (weight, expected.dequantized))
        drift = float((moved / s - 1).abs().max())
        assert layer.formats["int4"].drift == pytest.approx(drift, rel=1e-3)
        assert layer.formats["int4"].drift_measured


def test_grades_follow_the_thresholds_and_the_denylist_the_grades(tiny):
    report = rate(tiny, formats="int8,int3", tokens=256, context=8)
    ordered = sorted(report.risks("int3").values())
    limits = Thresholds(safe=ordered[3], risky=ordered[8])
    again = rate(tiny, formats="int8,int3", tokens=256, context=8, thresholds=limits)
    for layer in again.layers:
        risk = layer.formats["int3"].risk
        expected = "A" if risk < ordered[3] else "C" if risk > ordered[8] else "B"
        assert layer.formats["int3"].rating == expected
    assert again.denylist == [name for name, risk in again.risks("int3").items() if risk > ordered[8]]
    assert again.summary["formats"]["int3"]["C"] == len(again.denylist) == 3
    assert again.summary["formats"]["int8"]["C"] == 0
    assert again.to_dict()["denylist"] == again.denylist


def test_same_seed_same_answer_and_no_gradients_left_on(tiny):
    ticks = []
    first = rate(tiny, tokens=64, context=8, on_progress=lambda done, total: ticks.append((done, total)))
    assert first.to_dict() == rate(tiny, tokens=64, context=8).to_dict()
    assert first.risks("int4") != rate(tiny, tokens=64, context=8, seed=1).risks("int4")
    assert ticks[-1] == (8 + 12, 8 + 12)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in tiny.parameters())


def test_a_planted_outlier_channel_is_named(tiny):
    with torch.no_grad():
        tiny.layers[1].up_proj.weight[5, 3] = 4.0
    report = rate(tiny, formats="int4", tokens=512, context=8, granularity="tensor")
    planted = next(layer for layer in report.layers if layer.name == "layers.1.up_proj").formats["int4"]
    assert any("relative rounding error" in reason for reason in planted.reasons)
    W = np.random.default_rng(0).standard_normal((8, 400))
    W[2, 7] = 300
    said = channel_reasons(W, W * 0.01, outputs=np.ones(8), inputs=np.ones(400))
    assert any("1 of 400 input channels carry" in each and "(channel 7)" in each for each in said)
    assert any("output channel 2 has a weight of" in each for each in said)


def test_reasons_state_what_is_there():
    assert few_channels(np.array([70.0] + [1.0] * 30)) == (1, 0.7)
    assert few_channels(np.ones(100))[0] == 0
    assert few_channels(np.zeros(4)) == (0, 0.0)
    assert comparison_reasons(sensitivity=1.0, noise=1.9) == []
    assert "5.0 times" in comparison_reasons(sensitivity=5.0, noise=1.0)[0]


def test_bad_input(tiny, text):
    with pytest.raises(BadInput, match="the text has 5 tokens, 123 too few: expected at least 2 windows"):
        rate(tiny, calibration="short")
    with pytest.raises(BadInput, match="did you mean int4"):
        rate(tiny, formats="in4")
    with pytest.raises(BadInput, match="0 < safe < risky"):
        Thresholds(safe=2, risky=1)
    with torch.no_grad():
        tiny.layers[0].q_proj.weight[0, 0] = float("inf")
    with pytest.raises(BadInput, match="NaN or infinite"):
        rate(tiny, tokens=64)


def test_reasons_name_an_outlier_column():
    weight = np.random.default_rng(0).standard_normal((40, 64))

    def said(values):
        reasons = channel_reasons(values, np.full((40, 64), 0.1), outputs=np.ones(40), inputs=np.ones(64))
        return [each for each in reasons if "largest weight in" in each]

    assert said(weight) == []
    weight[:30, 7], weight[30:, 7] = 20, 0
    assert said(weight) == [
        "input channel 7 has the largest weight in 30 of 40 output channels and sets their steps: smoothing "
        "or one scale per group helps"
    ]


def test_without_data_ten_passes_are_enough(tiny, monkeypatch):
    """Counted in tokens: every forward pass of the model, every call of autograd."""
    passes = {"forward": 0, "backward": 0}
    real = torch.autograd.grad

    def counted(outputs, *arguments, **options):
        passes["backward"] += outputs.shape[:2].numel()
        return real(outputs, *arguments, **options)

    monkeypatch.setattr(torch.autograd, "grad", counted)
    tiny.register_forward_pre_hook(
        lambda module, inputs: passes.update(forward=passes["forward"] + inputs[0].numel())
    )
    report = rate(tiny, formats="int8,int4,int3,fp8", tokens=256, context=16)
    assert passes == {"forward": 5 * report.tokens, "backward": 4 * report.tokens}
    assert sum(passes.values()) <= 10 * report.tokens
