"""The study's page is what the committed results give, and the results hold what the README promises."""

import importlib.util
from pathlib import Path

import pytest

GENERATOR = Path(__file__).parents[1] / "benchmarks" / "study_page.py"
pytestmark = pytest.mark.skipif(not GENERATOR.is_file(), reason="only the tests were copied")


@pytest.fixture(scope="module")
def study_page():
    spec = importlib.util.spec_from_file_location("study_page", GENERATOR)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page(study_page):
    assert study_page.PAGE.read_text(encoding="utf-8") == study_page.page(study_page.loaded())


def test_twenty_models_and_their_ranks(study_page):
    """What the issue of this tool asks of the means over the models, each format."""
    study = study_page.loaded()["rank_study"]
    trained = [each for each in study["models"] if each["recipe"] and each["recipe"]["steps"] > 0]
    assert len(trained) >= 20
    for kind in ("int4", "int3", "fp8_e4m3"):
        found = study["tables"]["zoo"][kind]
        assert found["own samples"]["overall"]["mean"] >= 0.90
        assert found["own samples"]["within role"]["mean"] >= 0.55
        assert found["text"]["within role"]["mean"] >= 0.75
        assert found["text"]["worst tenth found"]["mean"] >= 0.80


@pytest.mark.parametrize("model", ["reference", "SmolLM2-135M", "all-MiniLM-L6-v2"])
def test_models_that_the_study_did_not_train(study_page, model):
    for found in study_page.loaded()["rank_study"]["tables"][model].values():
        assert found["own samples"]["overall"]["mean"] >= 0.90
        assert found["own samples"]["within role"]["mean"] >= 0.55
        assert found["text"]["within role"]["mean"] >= 0.75
        assert found["text"]["overall"]["low"] > found["weight squared error"]["overall"]["high"]


def test_grades_by_rank_mean_what_they_say(study_page):
    found = study_page.loaded()["calibration"]
    assert not set(found["fitted_on"]) & set(found["judged_on"])
    for tier in ("own samples", "calibration text"):
        each = found["tiers"][tier]
        assert each["share_in_c"] >= 0.5
        assert each["share_in_a"] <= 0.02
        assert min(each["layers_in_c"], each["layers_in_a"]) >= 30
        assert each["brier"] < each["brier_of_base_rate"]
