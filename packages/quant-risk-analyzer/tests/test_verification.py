"""The self-check against measurements made by hand, and what it refuses."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from mfi_command import BadInput
from quant_risk_analyzer import measure, rate, verify
from quant_risk_analyzer.verification import spread_over


def test_the_correlation_is_that_of_measured_layers(tiny, text):
    report = rate(tiny, formats="int4,int3", tokens=512, context=16)
    found = verify(tiny, report, count=7, evaluation=text, max_tokens=320, context=32)
    names = spread_over(report, 7)
    assert len({each.name for each in found.damages}) == 7
    assert (found.text, found.tokens) == ("evaluation text", 320)
    truth = measure(tiny, text, formats="int4,int3", max_tokens=320, context=32)
    for kind, check in found.checks.items():
        pairs = [(report.risks(kind)[name], truth.kl(kind)[name]) for name in names]
        assert check.rank_correlation == pytest.approx(spearmanr(*np.array(pairs).T).statistic)
        assert check.low <= check.rank_correlation <= check.high


def test_without_a_text_the_model_writes_one(tiny):
    report = rate(tiny, formats="int3", tokens=256, context=16)
    found = verify(tiny, report, count=3, max_tokens=128, context=16)
    assert found.text == "fresh own samples"
    assert found.to_dict()["formats"]["int3"].keys() == {"rank_correlation", "low", "high"}


def test_the_layers_span_the_order(tiny):
    report = rate(tiny, formats="int4", tokens=128, context=16)
    risks = report.risks("int4")
    ordered = sorted(risks, key=lambda name: risks[name])
    assert spread_over(report, 3) == [ordered[0], ordered[6], ordered[-1]] or spread_over(report, 3) == [
        ordered[0],
        ordered[5],
        ordered[-1],
    ]
    assert spread_over(report, 500) == ordered


def test_what_proves_nothing_is_refused(tiny, text):
    report = rate(tiny, formats="int4", tokens=128, context=16)
    words = " ".join(text[at : at + 5] for at in range(0, len(text), 5))
    for calibration, evaluation in ((text, text), (words, words[300:900])):
        with pytest.raises(BadInput, match="give a text that the rating has not seen"):
            verify(tiny, report, count=3, evaluation=evaluation, calibration=calibration)
    with pytest.raises(BadInput, match="2 layers have no order"):
        verify(tiny, report, count=2)
    two = rate(tiny, formats="int4", tokens=128, context=16, layers="layers.0.[qk]_proj")
    with pytest.raises(BadInput, match="2 layers were rated"):
        verify(tiny, two, count=5)
