"""Straight-through gradients, and what training with them gains."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from mfi_command import BadInput
from quant_risk_analyzer import quantize
from quant_risk_analyzer.cli import app
from quant_risk_analyzer.qat import straight_through, train_quantized


@pytest.mark.parametrize("format", ["int3", "fp4", "nf4"])
def test_values_are_quantized_and_gradients_those_of_the_weight(format):
    W = torch.randn(4, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    out = straight_through(W, format, "channel")
    expected = quantize(W.detach(), format).dequantized
    torch.testing.assert_close(out.detach(), expected, rtol=1e-6, atol=1e-7)
    slope = torch.randn(4, 8)
    (gradient,) = torch.autograd.grad((out * slope).sum(), W)
    torch.testing.assert_close(gradient, slope, rtol=0, atol=0)


def test_training_beats_rounding_after_training():
    found = train_quantized("int2", steps=60, seed=3)
    assert set(found.losses) == {"SGD", "Adam"}
    for name, losses in found.losses.items():
        assert len(losses) == 61
        assert np.mean(losses[-20:]) < 0.5 * losses[0]
        assert np.mean(losses[-20:]) < found.rounded_after[name]


def test_the_same_seed_gives_the_same_curves():
    assert train_quantized(steps=5, seed=1) == train_quantized(steps=5, seed=1)
    assert train_quantized(steps=5, seed=1) != train_quantized(steps=5, seed=2)


def test_command_reports_both_curves_and_draws_them(tmp_path):
    pytest.importorskip("matplotlib")
    target = tmp_path / "qat.svg"
    result = CliRunner().invoke(app, ["qat", "--steps", "10", "--json", "-o", str(target)])
    assert result.exit_code == 0, result.stderr
    assert [len(each) for each in json.loads(result.stdout)["losses"].values()] == [11, 11]
    assert "Adam, quantized while training" in target.read_text()


@pytest.mark.parametrize(
    ("options", "says"),
    [({"steps": 0}, "at least 1"), ({"sgd_rate": 1e9}, "diverged"), ({"format": "int44"}, "int4")],
)
def test_bad_training_is_refused(options, says):
    with pytest.raises(BadInput, match=says):
        train_quantized(**options)
