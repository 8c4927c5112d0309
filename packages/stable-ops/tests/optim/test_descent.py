"""SGD, Adam and AdamW against torch.optim in float64, 200 steps of one problem."""

import numpy as np
import pytest

from mfi_command import BadInput
from stable_ops import SGD, Adam, AdamW

torch = pytest.importorskip("torch")

SETTINGS = {
    "plain": (SGD, {"lr": 0.01}, "SGD"),
    "momentum": (SGD, {"lr": 0.01, "momentum": 0.9}, "SGD"),
    "nesterov": (SGD, {"lr": 0.01, "momentum": 0.9, "nesterov": True}, "SGD"),
    "decay": (SGD, {"lr": 0.01, "momentum": 0.5, "weight_decay": 0.1}, "SGD"),
    "adam": (Adam, {"lr": 0.02}, "Adam"),
    "adam decay": (Adam, {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}, "Adam"),
    "adamw": (AdamW, {"lr": 0.02}, "AdamW"),
    "adamw decay": (AdamW, {"lr": 0.02, "weight_decay": 0.3}, "AdamW"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_two_hundred_steps_of_torch(name):
    kind, options, theirs = SETTINGS[name]
    rng = np.random.default_rng(0)
    ours = [rng.standard_normal((5, 3)), rng.standard_normal(4)]
    tensors = [torch.tensor(p, dtype=torch.float64, requires_grad=True) for p in ours]
    reference = getattr(torch.optim, theirs)(tensors, **options)
    optimizer = kind(**options)
    for step in range(200):
        noise = np.random.default_rng(step)
        # A quartic with noise: gradients that differ in size and change sign.
        gradients = [p**3 - p + 0.1 * noise.standard_normal(p.shape) for p in ours]
        for tensor, gradient in zip(tensors, gradients, strict=True):
            tensor.grad = torch.from_numpy(gradient)
        reference.step()
        ours = optimizer.step(ours, gradients)
        # The noise is the same for both, so the next gradient does not hide a difference.
        for p, tensor in zip(ours, tensors, strict=True):
            np.testing.assert_allclose(p, tensor.detach().numpy(), rtol=1e-12)


def test_arguments_are_left_alone():
    parameter, gradient = np.ones(3), np.ones(3)
    Adam(lr=0.1, weight_decay=0.1).step([parameter], [gradient])
    np.testing.assert_array_equal(parameter, np.ones(3))
    np.testing.assert_array_equal(gradient, np.ones(3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SGD(lr=-1), "lr"),
        (lambda: SGD(lr=float("nan")), "lr"),
        (lambda: SGD(lr=0.1, nesterov=True), "momentum"),
        (lambda: Adam(betas=(0.9, 1.0)), r"betas\[1\]"),
        (lambda: SGD(lr=0.1).step([[1.0]], [[1.0, 2.0]]), "shapes"),
        (lambda: SGD(lr=0.1).step([[1.0]], []), "shapes"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(BadInput, match=message):
        call()


def test_another_problem_needs_a_new_optimizer():
    optimizer = Adam()
    optimizer.step([[1.0]], [[1.0]])
    with pytest.raises(BadInput, match="use a new one"):
        optimizer.step([[1.0, 2.0]], [[1.0, 2.0]])
