"""`quant-risk-analyzer drift`: singular values before and after."""

from __future__ import annotations

from mfi_command.cli import Model, Report, Table, command, progress
from quant_risk_analyzer.commands.application import Formats, GroupSize, Layers, app


@command(app, examples=["quant-risk-analyzer drift reference --formats int8,int4"])
def drift(
    model: Model,
    formats: Formats = "int8,int4",
    granularity: GroupSize = "channel",
    layers: Layers = "*",
) -> Report:
    """Drift of the singular values, predicted from the step and measured."""
    from quant_risk_analyzer.drift import LIMIT, drifts

    with progress("spectra") as tick:
        found = drifts(model, formats=formats, granularity=granularity, layers=layers, on_progress=tick)
    rows = [
        [each.name, each.format, each.predicted, each.measured, each.bound, each.exceeds] for each in found
    ]
    return Report(
        fields={"layers": [each.to_dict() for each in found]},
        tables=[
            Table(
                "Largest relative change over the top half of the singular values",
                ["layer", "format", "predicted", "measured", "at most", f"over {LIMIT:.0%}"],
                rows,
            )
        ],
    )
