"""Every layer factored once, with the loss that each rank is predicted to cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np

from mfi_command import BadInput
from svd_compress.allocation import Option, options
from svd_compress.gradients import Moments, moments
from svd_compress.matrices import Float64
from svd_compress.whitening import WhitenedFactors, whitened_factors

if TYPE_CHECKING:
    import torch

    from checkpoint_lens import CausalLM
    from checkpoint_lens.windows import Window

# Gradients are noisy where inputs are not: directions that a few thousand tokens never moved still count.
FLOOR = 1e-6


@dataclass(frozen=True)
class PreparedLayer:
    """One layer ready to be cut at any rank.

    Attributes
    ----------
    shape
        (out, in).
    factors
        Their first k columns and rows are the layer at rank k.
    losses
        Predicted rise of the loss at rank 0, 1, ..., min(out, in), nats per token.
    """

    shape: tuple[int, int]
    factors: WhitenedFactors
    losses: Float64


def chosen_layers(model: CausalLM, pattern: str) -> dict[str, torch.nn.Linear]:
    """The linear layers of the blocks whose name matches the glob.

    An untied output head is left out: it is as wide as the vocabulary, and so would be the second moment
    of its gradients.

    Raises
    ------
    BadInput
        If no layer matches.
    """
    every = {name: layer for name, layer in model.linear_layers().items() if not name.endswith("lm_head")}
    found = {name: layer for name, layer in every.items() if fnmatchcase(name, pattern)}
    if not found:
        first = f"; the first of {len(every)} is {next(iter(every))}" if every else ""
        raise BadInput(f"no linear layer matches {pattern!r}{first}")
    return found


def prepare(
    model: CausalLM,
    windows: Sequence[Window],
    names: Sequence[str],
    *,
    seed: int = 0,
    held_out: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, PreparedLayer]:
    """Factor the named layers, whitened on both sides by what they see in the windows.

    With `held_out` the factors come from every other window and their losses are judged on the windows
    between: a layer with more columns than there are tokens has a low rank on exactly those tokens, and
    only there.

    Cost: a forward and a backward pass over the windows, then O(in^3 + out^3) a layer. Memory: float64
    second moments and factors of every named layer, twice the moments with `held_out`.

    Raises
    ------
    BadInput
        If there are fewer than two windows and some are to be held out.
    """
    if held_out and len(windows) < 2:
        raise BadInput("one window of text: two are needed, one to factor and one to judge; give more text")
    total = len(windows) + len(names)

    def seen(part: Sequence[Window], before: int) -> dict[str, Moments]:
        def tick(done: int, _: int) -> None:
            if on_progress is not None:
                on_progress(before + done, total)

        return moments(model, part, names, seed=seed + before, on_progress=tick)

    fitted = windows[::2] if held_out else windows
    statistics = seen(fitted, 0)
    judges = seen(windows[1::2], len(fitted)) if held_out else {}
    layers = model.linear_layers()
    prepared = {}
    for done, name in enumerate(names, 1):
        # Popped: the moments of a layer are as large as its weights, and of no use after this.
        prepared[name] = _prepare_layer(layers[name].weight, statistics.pop(name), judges.pop(name, None))
        if on_progress is not None:
            on_progress(len(windows) + done, total)
    return prepared


def _prepare_layer(weight: torch.Tensor, seen: Moments, judge: Moments | None) -> PreparedLayer:
    factors = whitened_factors(weight, seen.inputs, output_gram=seen.gradients, floor=FLOOR)
    out, in_ = weight.shape
    losses = factors.tail() / 2 if judge is None else held_out_losses(factors, judge)
    return PreparedLayer((out, in_), factors, losses)


def held_out_losses(factors: WhitenedFactors, judge: Moments) -> Float64:
    r"""The second-order loss of every truncation under moments that the factors were not made from.

    What rank k leaves out is :math:`\Delta_k = \sum_{i \ge k} l_i r_i^T`, so

    .. math:: \tfrac12 \operatorname{tr}(F \Delta_k G \Delta_k^T)
        = \tfrac12 \sum_{i,j \ge k} (l_i^T F l_j)(r_i^T G r_j):

    all ranks are the suffix sums of one matrix. Cost O(p (out^2 + in^2)) with p = min(out, in).

    Returns
    -------
    Float64
        At rank 0, 1, ..., p, nats per token. Unlike the tail it need not fall with the rank.
    """
    left, right = factors.left, factors.right
    pairs = (left.T @ judge.gradients @ left) * (right @ judge.inputs @ right.T)
    suffixes = pairs[::-1, ::-1].cumsum(0).cumsum(1).diagonal()[::-1]
    # A sum of squares: what rounding makes of it below zero is zero.
    return np.append(np.maximum(suffixes, 0.0), 0.0) / 2


def all_options(
    prepared: Mapping[str, PreparedLayer], *, multiple: int, min_saving: float
) -> dict[str, list[Option]]:
    """The options of every prepared layer, see `allocation.options`."""
    return {
        name: options(layer.shape, layer.losses, multiple=multiple, min_saving=min_saving)
        for name, layer in prepared.items()
    }


def balanced(factors: WhitenedFactors, rank: int) -> tuple[Float64, Float64]:
    """Factors of this rank, each pair of column and row scaled to one norm: both fit a 16-bit format."""
    left, right = factors.left[:, :rank], factors.right[:rank]
    columns, rows = np.linalg.norm(left, axis=0), np.linalg.norm(right, axis=1)
    # A pair that contributes nothing has a zero row or column; any scale does.
    ratio = np.sqrt(np.where((columns > 0) & (rows > 0), rows, 1.0) / np.where(columns > 0, columns, 1.0))
    return left * ratio, right / ratio[:, None]
