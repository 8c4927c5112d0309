"""The application of the command svd-compress, and the options that its commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mfi_command.cli import create_app

app = create_app(
    "svd-compress",
    distribution="svd-compress",
    summary="Low-rank compression of language models under a perplexity budget, or a proof that none fits.",
)

Layer = Annotated[str, typer.Option(help="Glob of layer names.")]
Calibration = Annotated[
    str, typer.Option(metavar="FILE", help="Text that the factors and ranks are made from.")
]
Evaluate = Annotated[str, typer.Option(metavar="FILE", help="Other text, which the rise is measured on.")]
OtherDomain = Annotated[
    str, typer.Option(metavar="FILE", help="Text of another domain, whose perplexity stands beside.")
]
Context = Annotated[int, typer.Option(help="Tokens of a window of text.")]
CalibrationTokens = Annotated[int, typer.Option(help="Tokens of calibration text to read.")]
EvaluationTokens = Annotated[
    int | None, typer.Option(help="Tokens of each evaluation text to read; all by default.")
]
Layout = Annotated[str, typer.Option(help="How factors are kept: pivoted (fewest numbers) or two.")]
Executor = Annotated[str, typer.Option(help="serial, processes or ray: where layers are factored.")]
Work = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="Keep what is finished here, and resume from it.")
]
Device = Annotated[str, typer.Option(help="Where the model runs: cpu or cuda.")]
