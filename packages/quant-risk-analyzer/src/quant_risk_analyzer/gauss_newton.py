r"""The Gauss-Newton form of the damage: how far the output distribution moves when a weight is perturbed.

For a perturbation :math:`\Delta` of one weight, at a token position :math:`\tau`,

.. math:: \mathrm{KL}(p_\tau \| p'_\tau) = \tfrac12\, \mathbb E_{y \sim p_\tau}
          \bigl[\langle \Delta, \nabla_W \log p_\tau(y) \rangle^2\bigr] + O(\|\Delta\|^3).

Labels drawn independently at each position have scores of mean zero, so that the square of their sum over a
sequence has the expectation of the sum of squares: one backward pass over a whole sequence gives an unbiased
sample of the summed KL, for every layer at once. The inner product needs no weight gradient:
:math:`\langle \Delta, \nabla_W \rangle = \sum_t g_t \cdot \Delta x_t` with :math:`g_t` the gradient at the
layer's output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mfi_command import BadInput
from quant_risk_analyzer.models import LanguageModel, frozen
from quant_risk_analyzer.texts import draw_labels

if TYPE_CHECKING:
    import torch

FLOATS_AT_ONCE = 2**27  # numbers held per pass, 512 MiB


@dataclass(frozen=True)
class Products:
    """Inner products of one layer's perturbations with the score of each sequence.

    Attributes
    ----------
    scores
        `sum_t g_t . E x_t` by perturbation, sequence and probe: (perturbations, sequences, probes).
    channels
        The same sum by output channel, squared, averaged over the sequences: (perturbations, out).
    inputs
        Mean square of each input channel: (in,).
    """

    scores: np.ndarray[Any, Any]
    channels: np.ndarray[Any, Any]
    inputs: np.ndarray[Any, Any]


def score_products(
    model: LanguageModel,
    tokens: torch.Tensor,
    errors: Callable[[str], torch.Tensor],
    layers: Mapping[str, torch.nn.Linear],
    *,
    probes: int = 2,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Products]:
    """Inner products of the perturbations `errors(name)` with the sampled scores of each sequence.

    Parameters
    ----------
    model
        Causal language model.
    tokens
        int64 (sequences, length).
    errors
        Gives the perturbations of a layer: float32 (perturbations, out, in). Called once a pass and layer, so
        that they need not all be in memory.
    layers
        The linear layers to look at, by name.
    probes
        Draws of labels for each sequence, each one backward pass.
    seed
        Of the labels.

    Returns
    -------
    dict
        By layer. Half the mean square of `scores`, divided by the length, is the expected KL, nats per token.

    Notes
    -----
    A token costs one forward pass, `probes` backward passes to the layers' outputs (no weight gradients), and
    one product with each perturbation.

    Source: Martens, "New insights and perspectives on the natural gradient method", JMLR 2020, section 5.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    size = _sequences_at_once(model, layers, tokens.shape[1])
    parts: list[dict[str, Products]] = []
    with frozen(model):
        for start in range(0, len(tokens), size):
            batch = tokens[start : start + size]
            parts.append(_one_pass(model, batch, errors, layers, probes, generator))
            if on_progress is not None:
                on_progress(min(start + size, len(tokens)), len(tokens))
    return {name: _joined([part[name] for part in parts]) for name in layers}


def _sequences_at_once(model: LanguageModel, layers: Mapping[str, torch.nn.Linear], length: int) -> int:
    # Input, output and gradient of each layer, as much again for what lies between, and the logits thrice.
    widths = sum(2 * layer.in_features + 3 * layer.out_features for layer in layers.values())
    return max(1, FLOATS_AT_ONCE // (length * (widths + 3 * model.vocab_size)))


def _one_pass(
    model: LanguageModel,
    batch: torch.Tensor,
    errors: Callable[[str], torch.Tensor],
    layers: Mapping[str, torch.nn.Linear],
    probes: int,
    generator: torch.Generator,
) -> dict[str, Products]:
    import torch

    with recorded(layers) as seen:
        logits = model(batch)
    _all_called(seen, layers, batch)
    outputs = [seen[name][1] for name in layers]
    gradients = [
        torch.autograd.grad(logits, outputs, grad_outputs=score, retain_graph=True, allow_unused=True)
        for score in label_scores(logits.detach(), probes, generator)
    ]
    del logits, outputs
    with torch.no_grad():
        return {
            name: _products(seen.pop(name)[0], [found[index] for found in gradients], errors(name))
            for index, name in enumerate(layers)
        }


def label_scores(logits: torch.Tensor, draws: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
    """Gradients of `log p(y)` in the logits, `onehot(y) - p`, one label `y` drawn from `p` at each position.

    Each is valid until the next is asked for: they share their memory.
    """
    import torch

    score = torch.softmax(logits, -1)
    flat = score.reshape(-1, score.shape[-1])
    labels = draw_labels(flat, torch.rand((len(flat), draws), generator=generator))
    flat.neg_()
    for draw in range(draws):
        chosen = labels[:, draw : draw + 1]
        one = torch.ones_like(chosen, dtype=flat.dtype)
        yield flat.scatter_add_(1, chosen, one).reshape(score.shape)
        flat.scatter_add_(1, chosen, -one)


def _products(x: torch.Tensor, gradients: list[torch.Tensor | None], error: torch.Tensor) -> Products:
    import torch

    count, sequences = error.shape[0], x.shape[0]
    moved = torch.empty((count, *x.shape[:2], error.shape[1]), dtype=x.dtype)
    for index in range(count):
        torch.matmul(x, error[index].to(x.dtype).T, out=moved[index])
    flat = moved.reshape(count, sequences, -1).permute(1, 0, 2)
    scores = torch.zeros((count, sequences, len(gradients)), dtype=torch.float64)
    channels = torch.zeros((count, error.shape[1]), dtype=torch.float64)
    for probe, gradient in enumerate(gradients):
        if gradient is None:  # nothing after this layer reaches the logits
            continue
        scores[:, :, probe] = torch.bmm(flat, gradient.reshape(sequences, -1, 1))[:, :, 0].T
        if probe == 0:
            channels = ((moved * gradient).sum(2).double() ** 2).mean(1)
    return Products(scores.numpy(), channels.numpy(), (x.double() ** 2).mean((0, 1)).numpy())


def _joined(parts: list[Products]) -> Products:
    weights = np.array([part.scores.shape[1] for part in parts], dtype=float)
    return Products(
        scores=np.concatenate([part.scores for part in parts], axis=1),
        channels=np.average([part.channels for part in parts], axis=0, weights=weights),
        inputs=np.average([part.inputs for part in parts], axis=0, weights=weights),
    )


@contextmanager
def recorded(
    layers: Mapping[str, torch.nn.Linear],
) -> Iterator[dict[str, tuple[torch.Tensor, torch.Tensor]]]:
    """Keep the input and the output of each layer during a forward pass; outputs can be differentiated to."""
    seen: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def keeper(name: str) -> Callable[..., None]:
        def keep(module: object, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            if name in seen:
                raise BadInput(
                    f"{name} runs more than once in a forward pass: its error cannot be attributed"
                )
            if not output.requires_grad:
                output.requires_grad_(True)
            seen[name] = (inputs[0].detach(), output)

        return keep

    handles = [layer.register_forward_hook(keeper(name)) for name, layer in layers.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _all_called(
    seen: Mapping[str, tuple[torch.Tensor, torch.Tensor]],
    layers: Mapping[str, torch.nn.Linear],
    batch: torch.Tensor,
) -> None:
    for name in layers:
        if name not in seen:
            raise BadInput(f"{name} did not run in the forward pass: it cannot be rated")
        if seen[name][1].shape[:-1] != batch.shape:
            shape = tuple(seen[name][1].shape)
            raise BadInput(
                f"{name} gives {shape} for tokens {tuple(batch.shape)}: expected (batch, length, out)"
            )
