"""A quick table of what compresses: for each layer the smallest rank that is predicted to be harmless."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfi_command import BadInput
from svd_compress.allocation import Layout, options
from svd_compress.lowrank import break_even_rank
from svd_compress.preparation import PreparedLayer, chosen_layers, prepare
from svd_compress.texts import spread_windows

if TYPE_CHECKING:
    from checkpoint_lens import CausalLM


@dataclass(frozen=True)
class LayerVerdict:
    """What to do with one layer.

    Attributes
    ----------
    name, shape
        Module path and (out, in).
    break_even_rank
        Largest rank whose factors hold no more numbers than the layer.
    rank
        Smallest allowed rank whose predicted rise of the loss is within the bound, None where there is none.
    kept
        Share of the layer's parameters at that rank, 1.0 for dense.
    predicted_loss_rise
        At that rank, nats per token; for a layer left dense, at the largest rank that was allowed.
    verdict
        "compress to rank k" or "leave dense".
    """

    name: str
    shape: tuple[int, int]
    break_even_rank: int
    rank: int | None
    kept: float
    predicted_loss_rise: float | None
    verdict: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


def compressibility(
    model: CausalLM | str | Path,
    *,
    calibration: str | Path = "reference:calibration",
    max_loss_rise: float = 0.002,
    layer: str = "*",
    layout: Layout = "pivoted",
    multiple: int = 8,
    min_saving: float = 0.05,
    context: int = 256,
    tokens: int = 6144,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[LayerVerdict]:
    """Which layers have a low rank that the loss is predicted not to notice.

    A prediction for each layer alone: nothing is compressed and nothing measured. Half of the calibration
    windows make the factors, the other half judges them. `compress` adds the layers up and measures.

    Parameters
    ----------
    model
        From `checkpoint_lens.load_model`, or MODEL.
    calibration
        Text file, or "reference:KIND".
    max_loss_rise
        Bound on the predicted rise for one layer alone, nats per token.
    layer, layout, multiple, min_saving, context, seed
        As for `compress`.
    tokens
        How much of the text is read.
    on_progress
        Called with (done, total).

    Returns
    -------
    list of LayerVerdict
        One for every selected layer. Cost: a forward and a backward pass over the tokens, then
        O(in^3 + out^3) a layer; memory for the float64 moments of every selected layer.

    Raises
    ------
    BadInput
        If the model or the text cannot be used, or no layer matches.
    """
    from checkpoint_lens import load_model, read_text

    if not max_loss_rise > 0:
        raise BadInput(f"max_loss_rise is {max_loss_rise}; a number of nats above 0 is expected")
    loaded = load_model(model) if isinstance(model, str | Path) else model
    names = list(chosen_layers(loaded, layer))
    windows = spread_windows(loaded, read_text(calibration), context=context, max_tokens=tokens)
    prepared = prepare(loaded, windows, names, seed=seed, held_out=True, on_progress=on_progress)
    return [
        _verdict(name, prepared[name], max_loss_rise, layout=layout, multiple=multiple, min_saving=min_saving)
        for name in names
    ]


def _verdict(
    name: str, layer: PreparedLayer, bound: float, *, layout: Layout, multiple: int, min_saving: float
) -> LayerVerdict:
    m, n = layer.shape
    allowed = options(layer.shape, layer.losses, multiple=multiple, min_saving=min_saving, layout=layout)
    low_rank = [option for option in allowed if option.rank is not None]
    fine = [option for option in low_rank if option.loss <= bound]
    best = min(fine, key=lambda option: option.parameters) if fine else None
    shown = best or (low_rank[-1] if low_rank else None)
    return LayerVerdict(
        name=name,
        shape=layer.shape,
        break_even_rank=break_even_rank(m, n),
        rank=best.rank if best else None,
        kept=best.parameters / (m * n) if best else 1.0,
        predicted_loss_rise=shown.loss if shown else None,
        verdict=f"compress to rank {best.rank}" if best else "leave dense",
    )
