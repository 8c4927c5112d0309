"""What a fine-tune made riskier: a planted change is found, and nothing else."""

import copy

import pytest
import torch

from mfi_command import BadInput
from quant_risk_analyzer import Thresholds, compare


def test_a_planted_outlier_column_is_the_largest_change(tiny):
    after = copy.deepcopy(tiny)
    with torch.no_grad():
        after.layers[1].up_proj.weight[:, 3] *= 30
    found = compare(tiny, after, formats="int4", tokens=512, context=16)
    first = found.changes[0]
    assert first.name == "layers.1.up_proj"
    assert first.certain
    assert first.factor == pytest.approx(first.risk_after / first.risk_before)
    assert first.factor > 10
    limits = Thresholds(first.risk_before * 1.01, first.risk_after * 0.99)
    again = compare(tiny, after, formats="int4", tokens=512, context=16, thresholds=limits).changes[0]
    assert (again.rating_before, again.rating_after, again.worse) == ("A", "C", True)


def test_a_model_beside_itself_has_not_changed(tiny):
    found = compare(tiny, copy.deepcopy(tiny), formats="int8,int3", tokens=128, context=16)
    assert len(found.changes) == 2 * 12
    assert {each.factor for each in found.changes} == {1.0}
    assert not any(each.certain or each.worse for each in found.changes)


def test_models_that_do_not_belong_together(tiny):
    other = copy.deepcopy(tiny)
    other.layers = other.layers[:1]
    found = compare(tiny, other, formats="int4", tokens=64, context=16)
    assert (len(found.only_before), found.only_after) == (6, ())
    other.vocab_size = 60
    with pytest.raises(BadInput, match="vocabularies of 61 and 60"):
        compare(tiny, other)
