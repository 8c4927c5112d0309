"""Moments against the sister package and against autograd's own weight gradients."""

import numpy as np
import pytest
import torch

from checkpoint_lens import load_model, second_moments
from checkpoint_lens.windows import windows
from svd_compress.gradients import backward, draw, moments

CONTEXT = 64


@pytest.fixture(scope="module")
def model(tiny):
    return load_model(tiny, dtype="float64")


@pytest.fixture(scope="module")
def parts(model, texts):
    return windows(model, texts["calibration"].read_text(), context=CONTEXT, max_tokens=6 * CONTEXT)


def test_inputs_agree_with_second_moments(model, parts, texts):
    names = list(model.linear_layers())
    ours = moments(model, parts, names)
    theirs = second_moments(model, texts["calibration"].read_text(), context=CONTEXT, max_tokens=6 * CONTEXT)
    for name in names:
        expected = theirs[name].gram / theirs[name].tokens
        np.testing.assert_allclose(ours[name].inputs, expected, rtol=1e-9, atol=1e-12)


def test_gradients_give_the_weight_gradient_of_autograd(model, parts):
    names = list(model.linear_layers())
    seen = {}
    backward(model, parts[0], names, lambda name, x, g: seen.update({name: g.T @ x}), seed=5)
    # The same labels, and the gradient of every weight by autograd itself.
    ids = torch.from_numpy(parts[0].ids)
    layers = model.linear_layers()
    for name in names:
        layers[name].weight.requires_grad_(True)
    logits = model(ids[None])[0]
    generator = torch.Generator().manual_seed(5)
    labels = draw(logits.detach().float(), generator)
    torch.nn.functional.cross_entropy(logits, labels, reduction="sum").backward()
    for name in names:
        weight = layers[name].weight
        scale = weight.grad.norm().item()
        # `backward` judges in float32.
        np.testing.assert_allclose(seen[name].numpy(), weight.grad.numpy(), atol=1e-5 * scale)
        weight.requires_grad_(False)
        weight.grad = None


def test_gradient_moments_are_means_of_outer_products(model, parts):
    name = "model.layers.1.mlp.down_proj"
    collected = []
    for number, part in enumerate(parts, 1):
        backward(model, part, [name], lambda _, x, g: collected.append(g), seed=3 + number)
    G = torch.cat(collected).double().numpy()
    ours = moments(model, parts, [name], seed=3)[name].gradients
    # Kept in float32.
    np.testing.assert_allclose(ours, G.T @ G / len(G), rtol=1e-5, atol=1e-9 * np.abs(G).max() ** 2)


def test_the_model_is_left_as_it_was(model, parts):
    parameter = next(iter(model.parameters()))
    parameter.requires_grad_(True)
    before = model(torch.from_numpy(parts[0].ids)[None]).detach()
    moments(model, parts[:1], list(model.linear_layers()))
    assert parameter.requires_grad
    assert parameter.grad is None
    parameter.requires_grad_(False)
    assert torch.equal(model(torch.from_numpy(parts[0].ids)[None]), before)
    assert not any(layer._forward_hooks for layer in model.linear_layers().values())


def test_labels_follow_the_distribution():
    logits = torch.tensor([0.0, 2.0, -torch.inf, 1.0, -3.0]).repeat(40000, 1)
    counts = torch.bincount(draw(logits, torch.Generator().manual_seed(1)), minlength=5).double()
    expected = 40000 * logits[0].double().softmax(-1)
    assert counts[2] == 0
    seen = expected > 0
    chi_square = ((counts - expected)[seen] ** 2 / expected[seen]).sum()
    assert chi_square < 23  # p = 4e-5 with three degrees of freedom
