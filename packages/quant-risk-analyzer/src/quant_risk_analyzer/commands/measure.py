"""`quant-risk-analyzer measure`: what quantizing one layer at a time does."""

from __future__ import annotations

from typing import Annotated

import typer

from mfi_command.cli import Model, Report, Table, command, progress
from quant_risk_analyzer.commands.application import Formats, GroupSize, Layers, app


@command(app, examples=["quant-risk-analyzer measure reference --text reference:in-domain --formats int4"])
def measure(
    model: Model,
    text: Annotated[
        str,
        typer.Option(help="Text file (or reference:KIND) to evaluate on, not the one used for calibration."),
    ],
    formats: Formats = "int4",
    granularity: GroupSize = "channel",
    layers: Layers = "*",
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens to score at most.")] = 2048,
    context: Annotated[int, typer.Option(min=1, help="Length of a window in tokens.")] = 256,
) -> Report:
    """Quantize one layer at a time and measure the loss and the KL of the logits."""
    from checkpoint_lens import read_text
    from quant_risk_analyzer.truth import measure as compute

    with progress("measuring") as tick:
        found = compute(
            model,
            read_text(text),
            formats=formats,
            granularity=granularity,
            layers=layers,
            max_tokens=max_tokens,
            context=context,
            on_progress=tick,
        )
    rows = [
        [each.name, each.format, each.kl, each.kl_stderr, each.loss_increase, each.loss_increase_stderr]
        for each in sorted(found.layers, key=lambda each: -each.kl)
    ]
    return Report(
        fields=found.to_dict(),
        tables=[
            Table(
                "Damage in nats per token, one layer quantized at a time",
                ["layer", "format", "KL", "+-", "loss increase", "+-"],
                rows,
            )
        ],
        notes=[f"Loss of the untouched model: {found.loss:.4f} nats per token over {found.tokens} tokens."],
    )
