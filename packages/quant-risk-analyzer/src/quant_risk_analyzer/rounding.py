"""A whole model with rounded weights, for as long as a block of code lasts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from mfi_command import BadInput
from quant_risk_analyzer.formats import Granularity, format_named
from quant_risk_analyzer.models import LanguageModel
from quant_risk_analyzer.quantizers import rounded
from quant_risk_analyzer.sites import linear_sites


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
    sites = linear_sites(model)
    for name in assignment:
        if name not in sites:
            raise BadInput(f"no linear layer {name!r} in this model; the first is {next(iter(sites), None)}")
    values = {
        name: rounded(sites[name].weight, format_named(kind), granularity)
        for name, kind in assignment.items()
    }
    with ExitStack() as stack:
        for name, value in values.items():
            stack.enter_context(sites[name].holding(value))
        yield
