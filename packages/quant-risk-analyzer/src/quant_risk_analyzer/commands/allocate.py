"""`quant-risk-analyzer allocate`: a format for each layer under a budget."""

from __future__ import annotations

from typing import Annotated

import typer

from mfi_command.cli import Model, Report, Seed, Table, command
from quant_risk_analyzer.commands.application import Calibration, Formats, GroupSize, Layers, Tokens, app
from quant_risk_analyzer.commands.rating import rated


@command(app, examples=["quant-risk-analyzer allocate reference --average-bits 4.5"])
def allocate(
    model: Model,
    average_bits: Annotated[float, typer.Option(min=0, help="Bits per weight, scales included.")],
    formats: Formats = "int3,int4,int5,int6,int8",
    calibration: Calibration = None,
    granularity: GroupSize = "channel",
    layers: Layers = "*",
    tokens: Tokens = 4096,
    fused: Annotated[
        bool, typer.Option(help="One format for q, k, v of a block and for gate, up: runtimes fuse them.")
    ] = True,
    seed: Seed = 0,
) -> Report:
    """Choose a format for each layer under a budget of bits."""
    from quant_risk_analyzer.allocation import allocate as compute

    report = rated(model, formats, calibration, granularity, layers, tokens, None, seed)
    found = compute(report, average_bits=average_bits, fused=fused)
    rows = [[layer.name, found.assignment[layer.name]] for layer in report.layers]
    return Report(
        fields=found.to_dict(),
        tables=[Table("Format of each layer", ["layer", "format"], rows)],
        notes=[
            f"{found.average_bits:.3f} bits per weight with scales; predicted rise of the loss "
            f"{found.predicted_loss_increase:.3g} nats per token; nothing within the budget is below "
            f"{found.lower_bound:.3g}."
        ],
    )
