"""A whole model with rounded weights, for as long as a block of code lasts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mfi_command import BadInput
from quant_risk_analyzer.formats import Granularity, format_named
from quant_risk_analyzer.models import LanguageModel
from quant_risk_analyzer.quantizers import rounded


@contextmanager
def rounded_weights(
    model: LanguageModel, assignment: Mapping[str, str], *, granularity: Granularity = "channel"
) -> Iterator[None]:
    """Inside, the named layers hold what `quantize(...).dequantized` gives; afterwards their own weights.

    Parameters
    ----------
    model
        A causal language model with `linear_layers()`; changed in place and restored, also after an error.
    assignment
        Format by layer name, as in `Allocation.assignment`; layers that are not named stay as they are.
    granularity
        As for `quantize`, symmetric, absmax.

    Raises
    ------
    BadInput
        A name that is no linear layer of the model, an unknown format, a NaN weight; nothing is changed then.

    Notes
    -----
    Holds a second copy of the named weights.
    """
    layers = model.linear_layers()
    for name in assignment:
        if name not in layers:
            raise BadInput(f"no linear layer {name!r} in this model; the first is {next(iter(layers), None)}")
    values = {
        name: rounded(layers[name].weight.detach(), format_named(kind), granularity)
        for name, kind in assignment.items()
    }
    full = {name: layers[name].weight.data for name in values}
    try:
        for name, value in values.items():
            layers[name].weight.data = value
        yield
    finally:
        for name, value in full.items():
            layers[name].weight.data = value
