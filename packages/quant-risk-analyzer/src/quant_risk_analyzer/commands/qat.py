"""`quant-risk-analyzer qat`: quantization-aware training of a small network, SGD beside Adam."""

from __future__ import annotations

from typing import Annotated

import typer

from mfi_command.cli import Report, Seed, Table, command
from quant_risk_analyzer.commands.application import app


@command(
    app,
    examples=[
        "quant-risk-analyzer qat --format int2 --output qat.svg",
        "quant-risk-analyzer qat --format fp4 --steps 500 --json",
    ],
)
def qat(
    format: Annotated[str, typer.Option("--format", help="Number format of the weights.")] = "int2",
    steps: Annotated[int, typer.Option(min=1, help="Steps of each optimizer.")] = 300,
    sgd_rate: Annotated[float, typer.Option(help="Learning rate of SGD (momentum 0.9).")] = 0.05,
    adam_rate: Annotated[float, typer.Option(help="Learning rate of Adam.")] = 0.005,
    seed: Seed = 0,
) -> Report:
    """Train a small network with quantized weights, by SGD and by Adam: both curves."""
    from quant_risk_analyzer.plot_training import draw_training
    from quant_risk_analyzer.qat import train_quantized

    found = train_quantized(format, steps=steps, sgd_rate=sgd_rate, adam_rate=adam_rate, seed=seed)
    rows = [
        [name, losses[0], min(losses), losses[-1], found.rounded_after[name]]
        for name, losses in found.losses.items()
    ]
    return Report(
        fields=found.to_dict(),
        tables=[
            Table(
                f"Mean squared error of the {found.format} network on unseen points",
                ["optimizer", "at the start", "lowest", "at the end", "rounded after training"],
                rows,
            )
        ],
        notes=["A teacher of the same shape in full precision is imitated: the rest is lost to the format."],
        draw=lambda: draw_training(found),
    )
