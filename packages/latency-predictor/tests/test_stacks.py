"""The stacks that ship: their names, their scalars, and what their intervals were measured on."""

import numpy as np
import pytest

from latency_predictor import STACKS
from latency_predictor.device_fit import completed, device_fit_from, merged, shipped
from latency_predictor.pass_time import Timed
from latency_predictor.recipes import RECIPES, form_of
from latency_predictor.stacks import stacks, table
from mfi_command import BadInput
from roofline import analyze


def test_names_and_sentences_agree() -> None:
    assert {name: stack.title for name, stack in stacks().items()} == STACKS
    for stack in stacks().values():
        assert stack.recipe in RECIPES
        assert stack.source


def test_shipped_intervals_hold_what_they_promise() -> None:
    for name, phases in table()["interval"]["stack"].items():
        for phase, found in phases.items():
            assert found["low_log"] < 0 < found["high_log"], (name, phase)
            if "coverage" in found:
                assert 0.88 <= found["coverage"] <= 0.92, (name, phase)


def test_every_operator_of_every_family_has_its_kernels() -> None:
    """A name that a recipe does not know would cost nothing."""
    for model in ("opt-13b", "llama-3-8b", "qwen3-8b", "gpt2"):
        counted = analyze(model, device="H100")
        for placed in counted.operators:
            one = placed.operator
            if one.kind in ("vector", "gather"):
                for recipe in RECIPES.values():
                    assert form_of(one.name, counted.shape) in recipe, one.name


def test_every_device_is_complete_and_names_its_sources() -> None:
    fits = shipped()
    assert len(fits) >= 4
    needed = {kernel.fitted for recipe in RECIPES.values() for form in recipe.values() for kernel in form}
    for name, fit in fits.items():
        assert fit.sources, name
        full = completed(fit, [other for other in fits.values() if other is not fit])
        assert needed <= set(full.vectors)
        assert {"torch", "vllm"} <= set(full.prefills) & set(full.decodes)
    assert needed <= set(merged(list(fits.values()), "new").vectors)


def test_a_pass_waits_for_the_slower_of_device_and_host() -> None:
    eager = stacks()["eager"]
    busy = np.array([1e-5, 10.0])
    operators = [Timed("one", 1, busy, 100, np.zeros(2))]
    found = eager.pass_s(operators, phase="decode")
    issue = 100 * eager.issue_call_s + eager.issue_step_s
    assert found[0] == pytest.approx(issue, rel=1e-3)
    assert found[1] == pytest.approx(10.0 * eager.scale["decode"], rel=1e-3)


@pytest.mark.parametrize("content", [{}, {"format": "other"}, {"format": "latency-predictor fit 1"}])
def test_another_file_is_refused(content: dict) -> None:
    with pytest.raises(BadInput, match="here"):
        device_fit_from(content, "here")
