"""`quant-risk-analyzer scan`: weights alone, streamed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from mfi_command.cli import Model, Report, Table, command, progress
from quant_risk_analyzer.commands.application import Formats, GroupSize, Layers, app

if TYPE_CHECKING:
    from quant_risk_analyzer.weights.facts import MatrixFacts


@command(
    app,
    examples=[
        "quant-risk-analyzer scan ./my-model --formats int8,int4,fp8",
        "quant-risk-analyzer scan ./my-model --executor processes --resume ./scan.partial -o scan.csv",
    ],
)
def scan(
    model: Model,
    formats: Formats = "int8,int4",
    granularity: GroupSize = "channel",
    layers: Layers = "*",
    executor: Annotated[str, typer.Option(help="serial, processes or ray.")] = "serial",
    workers: Annotated[int | None, typer.Option(min=1, help="Tensors at a time.")] = None,
    resume: Annotated[
        str | None, typer.Option(help="Folder for what is finished; the same call goes on from it.")
    ] = None,
) -> Report:
    """Rounding errors, outliers and norms of every matrix, read one tensor at a time: no model is built."""
    from quant_risk_analyzer.weights.scan import CONFIDENCE
    from quant_risk_analyzer.weights.scan import scan as compute

    with progress("scan") as tick:
        found = compute(
            model,
            formats=formats,
            granularity=granularity,
            layers=layers,
            executor=executor,
            workers=workers,
            resume=resume,
            on_progress=tick,
        )
    heads = [column for name in found.formats for column in (f"{name} dB", f"{name} worst row")]
    rows = [
        [
            each.name,
            "x".join(str(extent) for extent in each.shape),
            each.dtype,
            *(
                value
                for name in found.formats
                for value in (each.formats[name].snr_db, each.formats[name].worst_row_error)
            ),
            f"{each.outlier_inputs} in, {each.outlier_outputs} out",
            each.kurtosis,
            each.spectral_norm,
            each.stable_rank,
        ]
        for each in sorted(
            (each for each in found.matrices if not each.invalid),
            key=lambda each: -max(facts.relative_error for facts in each.formats.values()),
        )
    ]
    broken = found.invalid
    return Report(
        fields=found.to_dict(),
        tables=[
            Table(
                "Largest rounding error first",
                ["layer", "shape", "stored", *heads, "outliers", "kurtosis", "norm >=", "stable rank"],
                rows,
            )
        ],
        notes=[found.account, CONFIDENCE, *_already_quantized(found.matrices)],
        over_limit=None
        if not broken
        else f"{len(broken)} matrices hold NaN or infinite weights: "
        + ", ".join(f"{each.name} ({each.invalid})" for each in broken[:3]),
    )


def _already_quantized(matrices: Sequence[MatrixFacts]) -> list[str]:
    stored = {each.dtype for each in matrices} - {"float64", "float32", "float16", "bfloat16"}
    if not stored:
        return []
    return [f"Stored as {', '.join(sorted(stored))}: these weights are on the grid of a quantizer already."]
