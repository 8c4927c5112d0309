"""The application and the options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from mfi_command.cli import create_app

app = create_app(
    "quant-risk-analyzer",
    distribution="quant-risk-analyzer",
    summary="Which layers of a model can be quantized, rated by the damage it would do.",
)

Formats = Annotated[
    str, typer.Option("--formats", help="Number formats, comma-separated: int8, int4, int3, ...")
]
Layers = Annotated[str, typer.Option("--layers", help="Glob of layer names.")]
GroupSize = Annotated[
    str, typer.Option("--granularity", help="Weights that share a scale: tensor, channel, or a group size.")
]
Calibration = Annotated[
    str | None,
    typer.Option(
        help="Text file, or reference:KIND, to run the model on. Without it: the model's own samples."
    ),
]
Tokens = Annotated[int, typer.Option(min=64, help="Tokens to run: more narrow the interval.")]
Safe = Annotated[float, typer.Option(help="Grade A below this risk, nats per token.")]
Risky = Annotated[float, typer.Option(help="Grade C above this risk, nats per token.")]
By = Annotated[
    str,
    typer.Option(help="Grade by risk, or by rank: the chance to be in the worst tenth of the layers."),
]
FailOn = Annotated[
    str | None, typer.Option(help="Exit with 1 when a layer has this grade or a worse one: B or C.")
]
