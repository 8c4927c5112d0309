"""The application, and the options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from mfi_command.cli import create_app

app = create_app(
    "latency-predictor",
    distribution="latency-predictor",
    summary="How long a request takes on a device, with an interval.",
)
Model = Annotated[str, typer.Option("--model", help="A name (opt-30b), a config.json, or a folder with one.")]
Device = Annotated[
    str, typer.Option("--device", help="One of `roofline devices`, or a .json of `roofline measure`.")
]
Batch = Annotated[int, typer.Option("--batch", help="Sequences at once.")]
Prompt = Annotated[int, typer.Option("--prompt", help="Tokens of each prompt.")]
Stack = Annotated[str, typer.Option("--stack", help="cuda-graph, eager, vllm, ... or one of --fit")]
Dtype = Annotated[str, typer.Option("--dtype", help="Of arithmetic and activations.")]
WeightDtype = Annotated[str, typer.Option("--weight-dtype", help="Of the stored matrices, if not the same.")]
KvDtype = Annotated[str, typer.Option("--kv-dtype", help="Of the key-value cache, if not the same.")]
TensorParallel = Annotated[
    int, typer.Option("--tensor-parallel", help="Devices of this kind that share every layer.")
]
Fit = Annotated[str, typer.Option("--fit", help="A file that `fit --write` or `calibrate` wrote.")]
