"""A model on a CUDA device gets the risks and the damage that it gets on the CPU."""

import copy

import pytest

torch = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

from checkpoint_lens import reference_model, reference_text  # noqa: E402
from quant_risk_analyzer import measure, measure_together, rate, verify  # noqa: E402

pytestmark = pytest.mark.gpu
LAYERS = "*.[07].*"


@pytest.fixture(scope="module")
def models():
    model = reference_model()
    return model, copy.deepcopy(model).to("cuda")


def test_risks(models):
    """On a text: samples of the model itself would differ where two draws nearly tie."""
    text = reference_text("calibration")
    formats = "int4,fp8,nf4"
    here, there = (
        rate(model, formats=formats, calibration=text, tokens=1024, layers=LAYERS) for model in models
    )
    for kind in here.formats:
        for name, risk in here.risks(kind).items():
            # A label drawn at a near tie may differ: one window of many.
            assert there.risks(kind)[name] == pytest.approx(risk, rel=0.05)


def test_damage(models):
    text = reference_text("in-domain")
    here, there = (
        measure(model, text, formats="int3", max_tokens=1024, context=128, layers=LAYERS) for model in models
    )
    for name, kl in here.kl("int3").items():
        assert there.kl("int3")[name] == pytest.approx(kl, rel=0.02)
    assignment = dict.fromkeys(here.kl("int3"), "int3")
    together = [measure_together(model, text, assignment, max_tokens=1024, context=128) for model in models]
    assert together[1].kl == pytest.approx(together[0].kl, rel=0.02)


def test_without_data(models):
    report = rate(models[1], formats="int4", tokens=1024, layers=LAYERS)
    found = verify(models[1], report, count=8, max_tokens=512)
    assert found.checks["int4"].rank_correlation > 0.6
