"""The singular values of every linear layer of a checkpoint, read one tensor at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mfi_command import BadInput
from svd_compress.lowrank import break_even_rank, spectrum_energies
from svd_compress.matrices import Float64, smallest_rank, tail_sums

if TYPE_CHECKING:
    from checkpoint_lens import Checkpoint, LinearLayer

TOP = 10


@dataclass(frozen=True)
class Spectrum:
    r"""How fast the singular values of one layer fall.

    Attributes
    ----------
    name, shape
        Module path and (out, in).
    rank_90, rank_95, rank_99
        Smallest rank that holds 90, 95, 99 % of the energy $\sum\sigma_i^2$.
    break_even_rank
        Largest rank whose factors hold no more numbers than the layer: a rank above it is no compression.
    top10_energy
        Share of the energy in the ten largest singular values.
    decay
        All singular values relative to the largest, descending, float64. Below about 1e-7 they are noise.
    """

    name: str
    shape: tuple[int, int]
    rank_90: int
    rank_95: int
    rank_99: int
    break_even_rank: int
    top10_energy: float
    decay: Float64

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "rank_90": self.rank_90,
            "rank_95": self.rank_95,
            "rank_99": self.rank_99,
            "break_even_rank": self.break_even_rank,
            "top10_energy": self.top10_energy,
            "decay": [float(f"{value:.6g}") for value in self.decay],
        }


def spectrum(
    model: str | Path | Checkpoint,
    *,
    layer: str = "*",
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Spectrum]:
    """Spectrum of each linear layer whose name matches a glob, in the order of the checkpoint.

    Parameters
    ----------
    model
        MODEL of checkpoint_lens ("reference", a folder, a file), or an open checkpoint.
    layer
        Glob of layer names, such as "*q_proj".
    on_progress
        Called with (layers done, layers in all).

    Returns
    -------
    list of Spectrum
        Cost O(out in min(out, in)) a layer in float64; memory: one layer.

    Raises
    ------
    BadInput
        If no layer matches, or a tensor holds NaN or infinity.

    Notes
    -----
    The energy of the weights says little about the loss: it does not know which directions the inputs take.
    `compress` weighs by inputs and gradients. The weights of a 4-bit file carry its rounding noise, which is
    flat: their spectra fall less than those of the model it was made from.
    """
    from checkpoint_lens import open_checkpoint

    checkpoint = open_checkpoint(model) if isinstance(model, str | Path) else model
    every = checkpoint.linear_layers()
    chosen = [item for item in every if fnmatchcase(item.name, layer)]
    if not chosen:
        first = f"; the first of {len(every)} is {every[0].name}" if every else "; the model has none"
        raise BadInput(f"no linear layer matches {layer!r}{first}")
    out = []
    for done, item in enumerate(chosen, 1):
        out.append(_of_layer(checkpoint, item))
        if on_progress is not None:
            on_progress(done, len(chosen))
    return out


def _of_layer(checkpoint: Checkpoint, item: LinearLayer) -> Spectrum:
    try:
        energies = spectrum_energies(checkpoint[item.tensor])
    except BadInput as error:
        raise BadInput(f"layer {item.name}: {error}") from error
    tails = tail_sums(energies)
    top = tails[min(TOP, len(energies))]
    return Spectrum(
        name=item.name,
        shape=item.shape,
        rank_90=smallest_rank(energies, 0.90),
        rank_95=smallest_rank(energies, 0.95),
        rank_99=smallest_rank(energies, 0.99),
        break_even_rank=break_even_rank(*item.shape),
        top10_energy=float(1.0 - top / tails[0]) if tails[0] else 1.0,
        decay=np.sqrt(energies / (energies[0] or 1.0)),
    )
