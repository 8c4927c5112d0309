"""The command svd-compress."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

# Importing the other commands adds them to the application.
import svd_compress.cli_plans  # noqa: F401
from mfi_command.cli import Model, Report, Seed, Table, command, entry_point, progress
from svd_compress.cli_options import Device, Layer, Layout, app


@command(
    app,
    examples=[
        "svd-compress spectrum reference",
        "svd-compress spectrum reference --layer '*q_proj' --output decay.png",
        "svd-compress spectrum reference --attention",
    ],
)
def spectrum(
    model: Model,
    layer: Layer = "*",
    attention: Annotated[
        bool,
        typer.Option("--attention", help="The products Q K and V O of each head, and the scores on --text."),
    ] = False,
    text: Annotated[
        str,
        typer.Option(metavar="FILE", help="With --attention: text for the scores; none for weights alone."),
    ] = "reference:in-domain",
) -> Report:
    """Singular values of each layer: decay, energy, and the break-even rank first."""
    from checkpoint_lens import open_checkpoint
    from svd_compress.sources import source_warnings
    from svd_compress.spectra import spectrum as compute

    if attention:
        from svd_compress.telling import attention_report

        return attention_report(model, text)
    checkpoint = open_checkpoint(model)
    warnings = source_warnings(checkpoint)
    with progress("spectra") as tick:
        layers = compute(checkpoint, layer=layer, on_progress=tick)

    def draw():  # type: ignore[no-untyped-def]  # a Figure, whose library is optional
        from svd_compress.figures import decay_figure

        return decay_figure(layers)

    above = sum(item.rank_95 > item.break_even_rank for item in layers)
    columns = ["layer", "shape", "break-even rank", "rank 90 %", "rank 95 %", "rank 99 %", "top-10 energy"]
    rows = [
        [
            item.name,
            "x".join(map(str, item.shape)),
            item.break_even_rank,
            item.rank_90,
            item.rank_95,
            item.rank_99,
            item.top10_energy,
        ]
        for item in layers
    ]
    return Report(
        fields={"layers": [item.to_dict() for item in layers], "warnings": list(warnings)},
        tables=[Table("Spectra", columns, rows)],
        notes=[
            f"{above} of {len(layers)} layers need more than their break-even rank for 95 % of the energy.",
            *(warning[0].upper() + warning[1:] + "." for warning in warnings),
        ],
        draw=draw,
    )


@command(
    app,
    examples=[
        "svd-compress latency 576x1536 --tokens 256",
        "svd-compress latency 576x1536,1536x576 --tokens 1 --keep",
        "svd-compress latency 4096x4096,4096x14336 --device cuda --dtype bfloat16 --output table.csv",
    ],
)
def latency(
    shapes: Annotated[
        str, typer.Argument(metavar="SHAPES", help="Shapes out x in, such as 4096x4096,4096x14336.")
    ],
    tokens: Annotated[int, typer.Option(help="Tokens of a forward pass; 1 is a decode step.")] = 1,
    ranks: Annotated[str | None, typer.Option(help="Ranks; evenly spaced aligned ones by default.")] = None,
    layout: Layout = "pivoted",
    device: Device = "cpu",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    rounds: Annotated[int, typer.Option(min=6, help="How often each is timed.")] = 30,
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Keep the rows: from now on compress leaves dense what is not faster."),
    ] = False,
    seed: Seed = 0,
) -> Report:
    """Dense against factored on this device, each with its interval, beside what the bytes allow."""
    from svd_compress.latency import alignment, candidate_ranks, measure
    from svd_compress.latency_table import keep_rows
    from svd_compress.telling import latency_report
    from svd_compress.words import layout_named, numbers, shapes_named

    wanted = shapes_named(shapes)
    form = layout_named(layout)
    rows = []
    with progress("latency") as tick:
        for done, shape in enumerate(wanted, 1):
            own = numbers(ranks) if ranks else candidate_ranks(shape, multiple=alignment(device), layout=form)
            rows += measure(
                shape, own, tokens, layout=form, device=device, dtype=dtype, rounds=rounds, seed=seed
            )
            tick(done, len(wanted))
    report = latency_report(rows)
    if keep:
        report = replace(report, notes=[*report.notes, f"Kept in {keep_rows(rows)}."])
    return report


@command(
    app,
    examples=[
        'svd-compress animate --matrix "[[3,1],[1,2]]" --output svd.gif',
        'svd-compress animate --matrix "[[1,2],[2,4]]" --output frames --frames 24',
    ],
)
def animate(
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE", help="The film svd.gif, or a new folder for a sequence of SVG."
        ),
    ],
    matrix: Annotated[str, typer.Option(help="A 2x2 matrix as JSON.")] = "[[3,1],[1,2]]",
    frames: Annotated[int, typer.Option(min=24, max=240, help="Frames of the motion.")] = 48,
) -> Report:
    """Film of a 2x2 matrix: the unit circle rotated, stretched, rotated into an ellipse."""
    from svd_compress.figures import write_film
    from svd_compress.geometry import take_apart
    from svd_compress.words import matrix_from_json

    geometry = take_apart(matrix_from_json(matrix))
    with progress("frames") as tick:
        write_film(geometry, output, frames=frames, on_progress=tick)
    fields = {
        "singular_values": geometry.singular_values.tolist(),
        "first_angle_rad": geometry.first_angle,
        "stretch": geometry.stretch.tolist(),
        "second_angle_rad": geometry.second_angle,
        "reflected": geometry.reflected,
        "frames": frames,
    }
    rows = [[name, value] for name, value in fields.items()]
    return Report(fields=fields, tables=[Table("Rotate, stretch, rotate", ["", "value"], rows)])


main = entry_point(app)
