"""The quadratic form against weight gradients, against the exact Fisher matrix, and against the real KL."""

import numpy as np
import pytest
import torch

from mfi_command import BadInput
from quant_risk_analyzer.gauss_newton import label_scores, score_products
from quant_risk_analyzer.sites import linear_sites, site_of
from quant_risk_analyzer.texts import random_windows


def perturbation(layer, size, seed):
    generator = torch.Generator().manual_seed(seed)
    return size * torch.randn(2, *layer.weight.shape, generator=generator, dtype=torch.float64)


def test_scores_are_inner_products_with_weight_gradients(tiny):
    """Window by window, with the labels that the estimator drew: autograd to the weights is the reference."""
    layers = linear_sites(tiny)
    ids = random_windows(61, windows=5, length=7, seed=0)
    errors = {name: perturbation(layer, 1, at) for at, (name, layer) in enumerate(layers.items())}
    found = score_products(tiny, ids, errors.__getitem__, layers, probes=3, seed=4)

    with torch.no_grad():
        probability = torch.softmax(tiny(ids), -1)
        scores = [each.clone() for each in label_scores(tiny(ids), 3, torch.Generator().manual_seed(4))]
    labels = [(score + probability).argmax(-1) for score in scores]
    weights = [layer.weight for layer in tiny.linear_layers().values()]
    for window in range(5):
        for probe in range(3):
            log_p = torch.log_softmax(tiny(ids[window : window + 1]), -1)[0]
            total = log_p.gather(-1, labels[probe][window, :, None]).sum()
            gradients = torch.autograd.grad(total, weights)
            for name, gradient in zip(layers, gradients, strict=True):
                expected = (errors[name] * gradient).sum((1, 2)).numpy()
                np.testing.assert_allclose(
                    found[name].scores[:, window, probe], expected, rtol=1e-8, atol=1e-10
                )


def test_risk_is_the_exact_fisher_form_within_its_sampling_error(tiny):
    """Reference: 1/2 d'(diag p - p p')d with d the derivative of the logits along the perturbation."""
    layers = linear_sites(tiny)
    ids = random_windows(61, windows=60, length=8, seed=1)
    errors = {name: perturbation(layer, 1, at) for at, (name, layer) in enumerate(layers.items())}
    found = score_products(tiny, ids, errors.__getitem__, layers, probes=24, seed=0)
    for name, layer in layers.items():
        for at in range(2):
            along = torch.func.jvp(
                lambda weight, name=name: torch.func.functional_call(tiny, {f"{name}.weight": weight}, ids),
                (layer.weight.detach(),),
                (errors[name][at],),
            )
            p, moved = torch.softmax(along[0], -1), along[1]
            exact = 0.5 * ((p * moved**2).sum(-1) - (p * moved).sum(-1) ** 2).sum(1)
            samples = found[name].scores[at] ** 2 / 2
            error = samples.mean(1) - exact.detach().numpy()
            assert abs(error.mean()) < 4.5 * error.std(ddof=1) / len(error) ** 0.5, name
            # The bound above must mean something: it is a few per cent of the risk.
            assert error.std(ddof=1) / len(error) ** 0.5 < 0.1 * samples.mean(), name


def test_risk_of_a_small_perturbation_is_the_measured_kl(tiny):
    layers = linear_sites(tiny)
    ids = random_windows(61, windows=200, length=8, seed=2)
    errors = {name: perturbation(layer, 1e-3, at) for at, (name, layer) in enumerate(layers.items())}
    found = score_products(tiny, ids, errors.__getitem__, layers, probes=16, seed=0)
    with torch.no_grad():
        before = torch.log_softmax(tiny(ids), -1)
        for name, layer in layers.items():
            with layer.holding(layer.weight + errors[name][0]):
                after = torch.log_softmax(tiny(ids), -1)
            kl = float((before.exp() * (before - after)).sum(-1).mean())
            risk = float((found[name].scores[0] ** 2).mean()) / (2 * 8)
            assert risk / kl == pytest.approx(1, abs=0.12), name


def test_many_passes_give_the_same_as_one(tiny, monkeypatch):
    from quant_risk_analyzer import gauss_newton

    layers = linear_sites(tiny)
    ids = random_windows(61, windows=6, length=7, seed=0)
    errors = {name: perturbation(layer, 1, 0) for name, layer in layers.items()}
    one = score_products(tiny, ids, errors.__getitem__, layers, probes=1)
    monkeypatch.setattr(gauss_newton, "FLOATS_AT_ONCE", 1)
    many = score_products(tiny, ids, errors.__getitem__, layers, probes=1)
    for name in layers:
        # Labels are drawn pass by pass with one probe: the same stream of uniform numbers.
        np.testing.assert_allclose(one[name].scores, many[name].scores, rtol=1e-10)
        np.testing.assert_allclose(one[name].channels, many[name].channels, rtol=1e-10)
        np.testing.assert_allclose(one[name].inputs, many[name].inputs, rtol=1e-10)


def test_labels_follow_the_distribution():
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]], dtype=torch.float64)).expand(1, 20000, 4)
    score = next(label_scores(logits, 1, torch.Generator().manual_seed(0)))
    # Mean of onehot(y) - p is zero within 4 standard errors.
    assert float(score.mean((0, 1)).abs().max()) < 4 * (0.25 / 20000) ** 0.5


def test_a_layer_that_runs_twice_gets_the_sum_over_its_runs(tiny):
    """The weight is one: autograd to it is the reference."""
    tiny.layers = torch.nn.ModuleList([tiny.layers[0], tiny.layers[0]])
    layers = linear_sites(tiny)
    ids = random_windows(61, windows=3, length=6, seed=0)
    errors = {name: perturbation(layer, 1, at) for at, (name, layer) in enumerate(layers.items())}
    found = score_products(tiny, ids, errors.__getitem__, layers, probes=1, seed=2)
    score = next(label_scores(tiny(ids).detach(), 1, torch.Generator().manual_seed(2))).clone()
    for name, layer in layers.items():
        for window in range(3):
            total = (tiny(ids[window : window + 1])[0] * score[window]).sum()
            (gradient,) = torch.autograd.grad(total, layer.modules[0].weight)
            expected = (errors[name] * gradient).sum((1, 2)).numpy()
            np.testing.assert_allclose(found[name].scores[:, window, 0], expected, rtol=1e-8, atol=1e-10)


def test_a_layer_that_does_not_run_or_mixes_the_windows_is_refused(tiny):
    layers = linear_sites(tiny)
    ids = random_windows(61, windows=2, length=4, seed=0)
    up = tiny.layers[0].up_proj
    up.forward = lambda x: x.repeat(1, 1, 3)
    stranger = {**layers, "nowhere": site_of("nowhere", torch.nn.Linear(3, 3))}
    with pytest.raises(BadInput, match="nowhere did not run"):
        score_products(tiny, ids, lambda name: torch.zeros(1, *stranger[name].weight.shape), stranger)
    up.forward = lambda x: x.reshape(-1, 16)[:3].repeat(1, 3)  # as an expert that was sent three tokens
    with pytest.raises(BadInput, match="mixes the windows"):
        score_products(tiny, ids, lambda name: torch.zeros(1, *layers[name].weight.shape), layers)
    assert all(parameter.requires_grad for parameter in tiny.parameters())
