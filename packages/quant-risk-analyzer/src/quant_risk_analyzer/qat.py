"""Quantization-aware training of a small network, with our own SGD and Adam: what each reaches by step."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from mfi_command import BadInput
from quant_risk_analyzer.formats import Granularity, NumberFormat, format_named
from quant_risk_analyzer.quantizers import rounded

if TYPE_CHECKING:
    import torch

UNSEEN = 512  # points that are never trained on
SIZES = (16, 32, 32, 4)  # inputs, two hidden layers, outputs


@dataclass(frozen=True)
class Curves:
    """Losses of the quantized network at each step.

    Attributes
    ----------
    format
        Of every weight matrix.
    losses
        By optimizer, mean squared error on unseen points before each step and after the last.
    rounded_after
        By optimizer: the same network trained in full precision and rounded at the end.
    """

    format: str
    losses: dict[str, tuple[float, ...]]
    rounded_after: dict[str, float]

    def to_dict(self) -> dict[str, object]:
        """As a plain dictionary."""
        return asdict(self)


def straight_through(W: torch.Tensor, format: str | NumberFormat, granularity: Granularity) -> torch.Tensor:
    r"""The quantized weight, with the gradient of the weight itself.

    :math:`\partial \hat W / \partial W` is zero almost everywhere; the estimator takes it for 1.
    Source: Bengio et al., "Estimating or propagating gradients through stochastic neurons", 2013.
    """
    kind = format_named(format) if isinstance(format, str) else format
    values: torch.Tensor = W + (rounded(W, kind, granularity) - W).detach()
    return values


def train_quantized(
    format: str = "int2",
    *,
    steps: int = 300,
    batch: int = 64,
    sgd_rate: float = 0.05,
    adam_rate: float = 0.005,
    granularity: Granularity = "channel",
    seed: int = 0,
) -> Curves:
    """Train one small network to imitate another, with quantized weights, by SGD and by Adam.

    The teacher is a random network of the same shape in full precision: what is lost is lost to the format.
    Both optimizers see the same start and the same points.

    Parameters
    ----------
    format
        Of the weights; biases stay in full precision.
    steps, batch
        Steps of each optimizer and points in a step.
    sgd_rate, adam_rate
        Learning rates; SGD has a momentum of 0.9.
    granularity
        As for `quantize`.
    seed
        Of teacher, start and points.

    Raises
    ------
    BadInput
        An unknown format, fewer than one step or point, a rate that is not positive; a rate so large that
        the loss is no longer finite.
    """
    from stable_ops import SGD, Adam

    kind = format_named(format)
    if steps < 1 or batch < 1 or not sgd_rate > 0 or not adam_rate > 0:
        raise BadInput("steps and batch must be at least 1, and both rates positive")
    optimizers: dict[str, Any] = {
        "SGD": lambda: SGD(lr=sgd_rate, momentum=0.9),
        "Adam": lambda: Adam(lr=adam_rate),
    }
    losses, after = {}, {}
    for name, make in optimizers.items():
        _, losses[name] = _train(make(), kind, granularity, steps, batch, seed, aware=True)
        weights, _ = _train(make(), kind, granularity, steps, batch, seed, aware=False)
        after[name] = _loss(weights, *_points(seed, 0, UNSEEN), kind, granularity)
    return Curves(kind.name, losses, after)


def _train(
    optimizer: Any,
    kind: NumberFormat,
    granularity: Granularity,
    steps: int,
    batch: int,
    seed: int,
    *,
    aware: bool,
) -> tuple[list[np.ndarray[Any, Any]], tuple[float, ...]]:
    import torch

    weights = _network(seed + 1)
    unseen = _points(seed, 0, UNSEEN)
    losses = []
    for step in range(steps):
        losses.append(_loss(weights, *unseen, kind, granularity))
        leaves = [torch.tensor(each, requires_grad=True) for each in weights]
        used = leaves
        if aware:
            used = [straight_through(each, kind, granularity) if each.ndim == 2 else each for each in leaves]
        x, y = _points(seed, step + 1, batch)
        loss = ((_forward(used, torch.from_numpy(x)) - torch.from_numpy(y)) ** 2).mean()
        gradients = torch.autograd.grad(loss, leaves)
        weights = optimizer.step(weights, [each.numpy() for each in gradients])
        if not all(np.isfinite(each).all() for each in weights):
            raise BadInput(f"the training diverged at step {step + 1}: lower the learning rate")
    losses.append(_loss(weights, *unseen, kind, granularity))
    return weights, tuple(losses)


def _network(seed: int) -> list[np.ndarray[Any, Any]]:
    """Weights (out, in) and biases (out,), in turn."""
    generator = np.random.default_rng(seed)
    found = []
    for inputs, outputs in pairwise(SIZES):
        found += [generator.standard_normal((outputs, inputs)) * (2 / inputs) ** 0.5, np.zeros(outputs)]
    return found


def _forward(weights: list[Any], x: Any) -> Any:
    for at in range(0, len(weights), 2):
        x = x @ weights[at].T + weights[at + 1]
        if at + 2 < len(weights):
            x = x.tanh()
    return x


def _points(seed: int, part: int, count: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Inputs (count, in) and what the teacher answers (count, out); part 0 is never trained on."""
    import torch

    x = np.random.default_rng([seed, part]).standard_normal((count, SIZES[0]))
    teacher = [torch.from_numpy(each) for each in _network(seed)]
    return x, _forward(teacher, torch.from_numpy(x)).numpy()


def _loss(
    weights: list[np.ndarray[Any, Any]],
    x: np.ndarray[Any, Any],
    y: np.ndarray[Any, Any],
    kind: NumberFormat,
    granularity: Granularity,
) -> float:
    """Mean squared error of the quantized network."""
    import torch

    used = [
        torch.from_numpy(rounded(each, kind, granularity) if each.ndim == 2 else each) for each in weights
    ]
    return float(((_forward(used, torch.from_numpy(x)) - torch.from_numpy(y)) ** 2).mean())
