"""The tier of the weights alone: figures of the quantizer, constants of the study, no model."""

import json
import math

import numpy as np
import pytest
from safetensors.numpy import save_file

from mfi_command import BadInput
from quant_risk_analyzer import quantize, rate_weights
from quant_risk_analyzer.confidence import calibrations
from quant_risk_analyzer.weights_only import weight_risk


def test_risk_is_the_squared_error_times_what_the_role_costs(folder):
    from checkpoint_lens import open_checkpoint

    report = rate_weights(str(folder), formats="int4,fp8")
    assert (report.tier, report.confidence, len(report.layers)) == ("weights only", "low", 14)
    checkpoint = open_checkpoint(str(folder))
    fit = calibrations()["weights only"]
    for layer in report.layers:
        weight = np.asarray(checkpoint[f"{layer.name}.weight"])
        for kind, found in layer.formats.items():
            error = quantize(weight, kind).relative_error
            assert found.relative_error == pytest.approx(error)
            assert found.risk == pytest.approx(weight_risk(error, layer.role))
            assert math.log(found.damage_high / found.damage_low) == pytest.approx(fit.log_high - fit.log_low)
    assert weight_risk(0.2, "down") == pytest.approx(4 * weight_risk(0.1, "down"))
    assert weight_risk(0.1, "a role never seen") > 0


def test_no_configuration_is_needed(folder):
    (folder / "config.json").unlink()
    assert len(rate_weights(folder / "model.safetensors", formats="int8").layers) == 14


def test_stacked_experts_and_fused_parts_are_rated_like_matrices_of_their_own(folder):
    generator = np.random.default_rng(0)
    stack = generator.standard_normal((3, 16, 24)).astype(np.float32)
    fused = generator.standard_normal((32, 16)).astype(np.float32)
    tensors = {"layers.0.mlp.experts.down_proj": stack, "layers.0.attn.qkv_proj.weight": fused}
    save_file(tensors, folder / "model.safetensors")
    report = rate_weights(str(folder), formats="int4")
    known = {f"layers.0.mlp.experts.{at}.down_proj": (stack[at], "down") for at in range(3)}
    heads = {"q": slice(0, 16), "k": slice(16, 24), "v": slice(24, 32)}
    known |= {f"layers.0.attn.qkv_proj.{part}": (fused[rows], part) for part, rows in heads.items()}
    assert {layer.name for layer in report.layers} == set(known)
    for layer in report.layers:
        weight, role = known[layer.name]
        assert layer.role == role
        expected = weight_risk(quantize(weight, "int4").relative_error, role)
        assert layer.formats["int4"].risk == pytest.approx(expected)


def test_bad_input(folder):
    with pytest.raises(BadInput, match=r"no linear layer of .* matches 'nothing'"):
        rate_weights(str(folder), layers="nothing")
    with pytest.raises(BadInput, match="did you mean int4"):
        rate_weights(str(folder), formats="int44")


def test_the_command(folder, tmp_path):
    from typer.testing import CliRunner

    from quant_risk_analyzer.cli import app

    page = tmp_path / "risk.html"
    result = CliRunner().invoke(app, ["rate", str(folder), "--weights-only", "--json", "-o", str(page)])
    found = json.loads(result.stdout)
    assert (found["tier"], found["confidence"]) == ("weights only", "low")
    text = page.read_text()
    assert "From the weights alone" in text
    assert "Spectra" not in text  # there are none
    refused = CliRunner().invoke(app, ["rate", str(folder), "--weights-only", "--verify", "4"])
    assert refused.exit_code == 2
    assert "leave out --calibration and --verify" in refused.stderr


def test_the_page_fetches_nothing(folder, tmp_path):
    from typer.testing import CliRunner

    from quant_risk_analyzer.cli import app

    page = tmp_path / "risk.html"
    # Few tokens: the page is the same, its numbers are worth less.
    result = CliRunner().invoke(app, ["rate", str(folder), "--tokens", "128", "-q", "-o", str(page)])
    assert result.exit_code == 0, result.stderr
    text = page.read_text()
    for each in ("<script", "src=", "href=", "url(", "http"):
        assert each not in text
    assert text.count("<svg") == 2 + 3  # a map for each format, spectra of the worst layers
