"""Each fix where it is the right one, with the energy of the error by hand."""

import numpy as np
import pytest
import torch

from quant_risk_analyzer import Thresholds, quantize
from quant_risk_analyzer.fixes import NONE, SKIP, fix_for
from quant_risk_analyzer.formats import format_named

GRADE = Thresholds().grade


def fix(weight, *, risk, role="up", inputs=None, kind="int4", granularity="channel"):
    moments = np.ones(weight.shape[1]) if inputs is None else inputs
    return fix_for(weight, format_named(kind), granularity, role=role, inputs=moments, risk=risk, grade=GRADE)


@pytest.fixture
def weight():
    return torch.randn(48, 256, generator=torch.Generator().manual_seed(0))


def test_a_safe_layer_needs_none(weight):
    assert fix(weight, risk=5e-4).text == NONE


def test_an_outlier_column_with_small_inputs_is_smoothed(weight):
    weight[:, 9] *= 40
    inputs = np.ones(256)
    inputs[9] = 1 / 40**2
    found = fix(weight, risk=5e-3, inputs=inputs)
    assert found.text.startswith("smoothing")
    assert found.risk < 1e-3
    assert "smoothing" not in fix(weight, risk=5e-3, inputs=inputs, role="down").text


def test_finer_scales_where_one_weight_sets_the_step(weight):
    weight[:, 200] += 15  # in one group of 32 of eight
    found = fix(weight, risk=4e-3, role="down")
    assert found.text == "one scale for 32 inputs"
    group = int(found.text.split()[3])
    before, after = (quantize(weight, "int4", granularity=each).relative_error for each in ("channel", group))
    assert found.risk == pytest.approx(4e-3 * (after / before) ** 2, rel=1e-4)


def test_eight_bits_where_finer_scales_are_not_enough(weight):
    found = fix(weight, risk=2e-2, role="down", kind="int3")
    assert found.text == "8 bits"
    before, after = (quantize(weight, kind).relative_error for kind in ("int3", "int8"))
    assert found.risk == pytest.approx(2e-2 * (after / before) ** 2, rel=1e-4)


def test_nothing_helps(weight):
    assert fix(weight, risk=1e5, role="down", kind="int3").text == SKIP
    assert fix(weight, risk=1e5, role="down", kind="int8").risk == 0
