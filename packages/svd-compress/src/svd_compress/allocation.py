"""Which ranks to give to which layers: the least predicted loss for each number of parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from mfi_command import BadInput
from svd_compress.matrices import Float64

# "two": left (m, r) and right (r, n). "pivoted": without the r x r block that can be made the identity.
Layout = Literal["two", "pivoted"]


def stored(shape: tuple[int, int], rank: int, layout: Layout) -> int:
    """Numbers that a layer of this shape holds at this rank."""
    m, n = shape
    return rank * (m + n - (rank if layout == "pivoted" else 0))


@dataclass(frozen=True)
class Option:
    """One way to store a layer.

    Attributes
    ----------
    rank
        None is the layer as it is.
    parameters
        Numbers that it holds.
    loss
        Predicted rise of the loss, nats per token.
    latency_s
        Measured on this device, None where nothing was measured.
    """

    rank: int | None
    parameters: int
    loss: float
    latency_s: float | None = None

    def stored_bytes(self, itemsize: int, layout: Layout) -> int:
        """Bytes on disk and in memory; a pivoted layer has four for the number of each pivot besides."""
        pivots = 4 * self.rank if self.rank is not None and layout == "pivoted" else 0
        return self.parameters * itemsize + pivots


@dataclass(frozen=True)
class Plan:
    """A rank for every layer (None: dense), with the parameters of all of them and the predicted rise."""

    ranks: Mapping[str, int | None]
    parameters: int
    predicted_loss_rise: float


def options(
    shape: tuple[int, int],
    losses: Float64,
    *,
    multiple: int = 8,
    min_saving: float = 0.2,
    layout: Layout = "two",
) -> list[Option]:
    """The ranks a layer may take, multiples of `multiple` that save at least `min_saving`, and dense.

    Parameters
    ----------
    shape
        (m, n) of the weights.
    losses
        Predicted loss at rank 0, 1, ..., min(m, n).
    multiple
        Matrix units work on tiles: a rank between two multiples costs the time of the larger.
    min_saving
        Share of the layer's parameters that a rank must save, in [0, 1). Just below the break-even rank
        two thin products read as much as one dense one and are started twice.
    layout
        How the factors are stored.
    """
    m, n = shape
    ranks = range(multiple, len(losses), multiple)
    sizes = {rank: stored(shape, rank, layout) for rank in ranks}
    # Strictly fewer numbers than dense, also with min_saving=0.
    fine = [r for r, size in sizes.items() if size < m * n and size <= (1 - min_saving) * m * n]
    return [Option(r, sizes[r], float(losses[r])) for r in fine] + [Option(None, m * n, 0.0)]


def all_dense(layers: Mapping[str, Sequence[Option]]) -> int:
    """Parameters of all layers as they are."""
    return sum(max(option.parameters for option in choices) for choices in layers.values())


def frontier(layers: Mapping[str, Sequence[Option]]) -> list[Plan]:
    """Plans from everything dense to everything at its smallest rank, each the best for its size.

    Every layer's options are cut down to their lower convex hull; the edges of all hulls, sorted by the
    loss they cost per parameter saved, are walked in that order. Each plan on the way minimises the sum
    of the predicted losses among all plans with as few parameters (the Lagrangian of the multiple-choice
    knapsack, exact at these sizes). Cost O(E log E) for E edges.
    """
    steps: list[tuple[float, str, Option, Option]] = []
    for name, choices in layers.items():
        hull = _hull(choices)
        for larger, smaller in pairwise(hull):
            price = (smaller.loss - larger.loss) / (larger.parameters - smaller.parameters)
            steps.append((price, name, larger, smaller))
    # The order within a layer is by price already; a stable sort keeps it where prices tie.
    steps.sort(key=lambda step: step[0])
    ranks: dict[str, int | None] = dict.fromkeys(layers)
    parameters = all_dense(layers)
    loss = 0.0
    plans = [Plan(dict(ranks), parameters, loss)]
    for _, name, larger, smaller in steps:
        ranks[name] = smaller.rank
        parameters -= larger.parameters - smaller.parameters
        loss += smaller.loss - larger.loss
        plans.append(Plan(dict(ranks), parameters, loss))
    return plans


def _hull(choices: Sequence[Option]) -> list[Option]:
    """Lower convex hull over (parameters, loss), from the dense option downwards."""
    hull: list[Option] = []
    for option in sorted(choices, key=lambda option: -option.parameters):
        while len(hull) >= 2 and _above(hull[-2], hull[-1], option):
            hull.pop()
        hull.append(option)
    return hull


def _above(a: Option, b: Option, c: Option) -> bool:
    """Whether b lies on or above the line from a to c."""
    return (b.loss - a.loss) * (a.parameters - c.parameters) >= (c.loss - a.loss) * (
        a.parameters - b.parameters
    )


def least(layers: Mapping[str, Sequence[Option]]) -> int:
    """Parameters of all layers at their smallest."""
    return sum(min(option.parameters for option in choices) for choices in layers.values())


def check_reach(layers: Mapping[str, Sequence[Option]], keep: float, *, measured: bool = False) -> None:
    """Refuse a share of the parameters that even the smallest options exceed.

    Raises
    ------
    BadInput
        With the share that they reach. `measured` says that ranks which are not faster were ruled out.
    """
    smallest, dense = least(layers), all_dense(layers)
    if keep * dense >= smallest:
        return
    # Rounded up: what is told can be asked for.
    reached = math.ceil(1e4 * smallest / dense) / 1e4
    more = ", or --faster-at 0, which allows ranks that are not faster" if measured else ""
    raise BadInput(
        f"--keep is {keep:g}, and the smallest allowed ranks keep {reached:g}: ask for that or more{more}"
    )
