"""What a forward and backward pass says of perturbed weights, and the label draws that it starts from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from quant_risk_analyzer.texts import draw_labels

if TYPE_CHECKING:
    import torch


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


def label_scores(logits: torch.Tensor, draws: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
    """Gradients of `log p(y)` in the logits, `onehot(y) - p`, one label `y` drawn from `p` at each position.

    Each is valid until the next is asked for: they share their memory.
    """
    import torch

    score = torch.softmax(logits, -1)
    flat = score.reshape(-1, score.shape[-1])
    labels = draw_labels(flat, torch.rand((len(flat), draws), generator=generator).to(flat.device))
    flat.neg_()
    for draw in range(draws):
        chosen = labels[:, draw : draw + 1]
        one = torch.ones_like(chosen, dtype=flat.dtype)
        yield flat.scatter_add_(1, chosen, one).reshape(score.shape)
        flat.scatter_add_(1, chosen, -one)


def joined(parts: Sequence[Products]) -> Products:
    """The products of several batches of sequences as one."""
    weights = np.array([part.scores.shape[1] for part in parts], dtype=float)
    return Products(
        scores=np.concatenate([part.scores for part in parts], axis=1),
        channels=np.average([part.channels for part in parts], axis=0, weights=weights),
        inputs=np.average([part.inputs for part in parts], axis=0, weights=weights),
    )
