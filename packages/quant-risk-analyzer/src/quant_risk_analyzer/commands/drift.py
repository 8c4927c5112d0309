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
    """Drift of singular values and eigenvalues, predicted from the step and measured."""
    from quant_risk_analyzer.drift import LIMIT, drifts

    invalid: dict[str, str] = {}
    with progress("spectra") as tick:
        found = drifts(
            model,
            formats=formats,
            granularity=granularity,
            layers=layers,
            on_invalid=invalid.__setitem__,
            on_progress=tick,
        )
    rows = [
        [
            each.name,
            each.format,
            each.singular_predicted,
            each.singular_measured,
            each.bound,
            each.eigenvalue_predicted,
            each.eigenvalue_measured,
            each.exceeds,
        ]
        for each in found
    ]
    over = sum(each.exceeds for each in found)
    right = sum((each.predicted > LIMIT) == each.exceeds for each in found)
    return Report(
        fields={"layers": [each.to_dict() for each in found], "invalid": invalid},
        tables=[
            Table(
                "Largest relative change over the top half of the singular values, and of the eigenvalues of "
                "square layers",
                [
                    "layer",
                    "format",
                    "predicted",
                    "measured",
                    "at most",
                    "eigenvalues predicted",
                    "measured",
                    f"over {LIMIT:.0%}",
                ],
                rows,
            )
        ],
        notes=[
            f"{over} of {len(found)} drift over {LIMIT:.0%}; the prediction is on the right side for {right}."
        ],
        over_limit=f"{len(invalid)} weights hold NaN or infinities: {', '.join(invalid)}"
        if invalid
        else None,
    )
