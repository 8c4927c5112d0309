"""The application, and the options that several commands share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, get_type_hints

import typer

from mfi_command.cli import Report, create_app

app = create_app(
    "latency-predictor",
    distribution="latency-predictor",
    summary="How long a request takes on a device, with an interval.",
)
Device = Annotated[
    str, typer.Option("--device", help="One of `roofline devices`, or a .json of `roofline measure`.")
]
Batch = Annotated[int, typer.Option("--batch", help="Sequences at once.")]
Prompt = Annotated[int, typer.Option("--prompt", help="Tokens of each prompt.")]
Stack = Annotated[str, typer.Option("--stack", help="cuda-graph, eager, vllm, ... or one of --fit")]


@dataclass(frozen=True)
class Chosen:
    """What runs where: the options of every command that predicts, empty where they were left out."""

    model: Annotated[
        str, typer.Option("--model", help="A name (opt-30b), a config.json, or a folder with one.")
    ]
    device: Annotated[
        str,
        typer.Option(
            "--device",
            help="One of `roofline devices`, or a .json of `roofline measure`; --fit names its own.",
        ),
    ] = ""
    stack: Annotated[
        str, typer.Option("--stack", help="cuda-graph (by default), eager, vllm, ... or one of --fit.")
    ] = ""
    dtype: Annotated[
        str, typer.Option("--dtype", help="Of arithmetic and activations: bf16 by default, or that of --fit.")
    ] = ""
    weight_dtype: Annotated[
        str, typer.Option("--weight-dtype", help="Of the stored matrices, if not the same.")
    ] = ""
    kv_dtype: Annotated[str, typer.Option("--kv-dtype", help="Of the key-value cache, if not the same.")] = ""
    tensor_parallel: Annotated[
        int, typer.Option("--tensor-parallel", help="Devices of this kind that share every layer.")
    ] = 1
    fit: Annotated[str, typer.Option("--fit", help="A file that `fit --write` or `calibrate` wrote.")] = ""

    def arguments(self) -> dict[str, Any]:
        """Of `predict`: what was left out is None."""
        return {name: None if value == "" else value for name, value in asdict(self).items()}


def chosen(function: Callable[..., Report]) -> Callable[..., Report]:
    """Give a command the options of `Chosen` in place of its parameter `what`, a `Chosen`."""
    hints, own = get_type_hints(function, include_extras=True), inspect.signature(function).parameters
    kinds = get_type_hints(Chosen, include_extras=True)
    shared = [
        inspect.Parameter(
            one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=kinds[one.name]
        )
        for one in fields(Chosen)
    ]
    shared[0] = shared[0].replace(default=inspect.Parameter.empty)
    others = [
        one.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, one in own.items()
        if name != "what"
    ]
    # Model and device first, then the command's own, then what is seldom given.
    parameters = [*shared[:2], *others, *shared[2:]]

    @functools.wraps(function)
    def run(**options: Any) -> Report:
        what = Chosen(**{one.name: options.pop(one.name) for one in shared})
        return function(what=what, **options)

    run.__signature__ = inspect.Signature(parameters, return_annotation=Report)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters} | {"return": Report}
    del run.__wrapped__  # else the parameters of the function alone would be seen
    return run
