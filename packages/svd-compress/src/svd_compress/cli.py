"""The command svd-compress."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from mfi_command.cli import Model, Report, Seed, Table, command, create_app, entry_point, progress

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
        "svd-compress compress reference --max-ppl-rise 1.0 --output smaller",
        "svd-compress compress model/ --keep 0.9 --calibration a.txt --evaluate b.txt --output small",
        "svd-compress compress reference --speed-up 1.1 --faster-at 512 --output faster",
    ],
)
def compress(
    model: Model,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="New folder for the compressed model.")
    ],
    calibration: Calibration = "reference:calibration",
    evaluate: Evaluate = "reference:in-domain",
    other_domain: OtherDomain = "reference:out-of-domain",
    max_ppl_rise: Annotated[
        float | None, typer.Option(help="Largest rise of the perplexity, upper end of its 95 % interval.")
    ] = None,
    keep: Annotated[
        float | None, typer.Option(help="Share of the selected layers' parameters to keep, at most.")
    ] = None,
    energy: Annotated[
        float | None, typer.Option(help="Share of the whitened energy that a factored layer keeps.")
    ] = None,
    max_bytes: Annotated[int | None, typer.Option(help="Bytes of all weights, at most.")] = None,
    speed_up: Annotated[
        float | None, typer.Option(help="Measured speed-up of the selected layers together, at least.")
    ] = None,
    layer: Layer = "*",
    layout: Layout = "pivoted",
    multiple: Annotated[
        int | None, typer.Option(help="Ranks are multiples of this; what the device likes by default.")
    ] = None,
    min_saving: Annotated[
        float, typer.Option(help="A layer is factored only if this share of its parameters is saved.")
    ] = 0.05,
    faster_at: Annotated[
        int | None,
        typer.Option(
            metavar="TOKENS",
            help="Keep dense what is not measured faster at so many; 0: no measuring. By default 1 on a GPU, "
            "and on a CPU that of its table kept by `latency --keep`.",
        ),
    ] = None,
    refine: Annotated[
        bool,
        typer.Option("--refine", help="Fit the factors again to what the compressed layers before make."),
    ] = False,
    heal: Annotated[float, typer.Option(metavar="MINUTES", help="Train the factors for so long.")] = 0.0,
    fold: Annotated[
        bool, typer.Option("--fold", help="Write the products as dense weights, for any tool.")
    ] = False,
    context: Context = 256,
    calibration_tokens: CalibrationTokens = 12288,
    evaluation_tokens: EvaluationTokens = None,
    device: Device = "cpu",
    executor: Executor = "serial",
    work: Work = None,
    memory_mib: Annotated[
        int | None, typer.Option(min=1, help="Bound on the layers' moments that are held at once.")
    ] = None,
    seed: Seed = 0,
) -> Report:
    """Factor the layers that can bear it, or say that none can (exit code 1)."""
    from svd_compress.compression import compress as compute
    from svd_compress.telling import compression_report
    from svd_compress.words import stages

    with stages() as tick:
        result = compute(
            model,
            calibration=calibration,
            evaluate=evaluate,
            other_domain=other_domain,
            output=output,
            max_ppl_rise=max_ppl_rise,
            keep=keep,
            energy=energy,
            max_bytes=max_bytes,
            speed_up=speed_up,
            layer=layer,
            layout=layout,  # type: ignore[arg-type]  # checked there
            multiple=multiple,
            min_saving=min_saving,
            faster_at=faster_at,
            refine=refine,
            heal_minutes=heal,
            fold=fold,
            context=context,
            calibration_tokens=calibration_tokens,
            evaluation_tokens=evaluation_tokens,
            device=device,
            executor=executor,
            work=work,
            memory_bytes=None if memory_mib is None else memory_mib << 20,
            seed=seed,
            on_progress=tick,
        )
    return compression_report(result)


@command(
    app,
    examples=[
        "svd-compress scan reference --output report.html",
        "svd-compress scan model.gguf --calibration a.txt --evaluate b.txt --faster-at 1 --output report.md",
    ],
)
def scan(
    model: Model,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Page .html or .md, with the front as .csv beside it."
        ),
    ] = None,
    calibration: Calibration = "reference:calibration",
    evaluate: Evaluate = "reference:in-domain",
    other_domain: OtherDomain = "reference:out-of-domain",
    keep: Annotated[
        str, typer.Option(help="Shares of the selected layers' parameters.")
    ] = "0.95,0.9,0.8,0.6",
    recommend: Annotated[float, typer.Option(help="The share that is told layer by layer.")] = 0.9,
    layer: Layer = "*",
    layout: Layout = "pivoted",
    faster_at: Annotated[
        int, typer.Option(metavar="TOKENS", help="Measure latencies at so many tokens; 0: none.")
    ] = 256,
    measure_layers: Annotated[int, typer.Option(help="Layers whose rise is measured alone.")] = 8,
    context: Context = 256,
    calibration_tokens: CalibrationTokens = 8192,
    evaluation_tokens: EvaluationTokens = 2048,
    device: Device = "cpu",
    executor: Executor = "serial",
    work: Work = None,
    seed: Seed = 0,
) -> Report:
    """Size, latency and perplexity of many plans, those that no other beats, a line for each layer."""
    from svd_compress.pages import check_page, scan_report, write_page
    from svd_compress.scan import scan_model
    from svd_compress.words import shares, stages

    if output is not None:
        check_page(output)
    with stages() as tick:
        result = scan_model(
            model,
            calibration=calibration,
            evaluate=evaluate,
            other_domain=other_domain,
            keeps=shares(keep),
            recommend=recommend,
            layer=layer,
            layout=layout,  # type: ignore[arg-type]  # checked there
            faster_at=faster_at,
            measure_layers=measure_layers,
            context=context,
            calibration_tokens=calibration_tokens,
            evaluation_tokens=evaluation_tokens,
            device=device,
            executor=executor,
            work=work,
            seed=seed,
            on_progress=tick,
        )
    report = scan_report(result)
    if output is None:
        return report
    written = write_page(output, f"svd-compress scan {model}", report, {"model": model, **report.fields})
    return replace(report, notes=[*report.notes, f"Wrote {' and '.join(map(str, written))}."])


@command(
    app,
    examples=["svd-compress compare reference --keep 0.9,0.8 --output methods.md"],
)
def compare(
    model: Model,
    calibration: Calibration = "reference:calibration",
    evaluate: Evaluate = "reference:in-domain",
    other_domain: OtherDomain = "reference:out-of-domain",
    keep: Annotated[str, typer.Option(help="Shares of the selected layers' parameters.")] = "0.9,0.8,0.6",
    layer: Layer = "*",
    refine: Annotated[bool, typer.Option(help="Ours also fitted again block by block.")] = True,
    heal: Annotated[float, typer.Option(metavar="MINUTES", help="Ours also trained for so long.")] = 0.0,
    context: Context = 256,
    calibration_tokens: CalibrationTokens = 12288,
    evaluation_tokens: EvaluationTokens = None,
    device: Device = "cpu",
    work: Work = None,
    seed: Seed = 0,
) -> Report:
    """Plain SVD, ASVD scaling, SVD-LLM whitening and ours beside each other at the same size."""
    from svd_compress.comparing import compare as compute
    from svd_compress.compression import open_bench
    from svd_compress.telling import comparison_report
    from svd_compress.texts import other_text, two_texts
    from svd_compress.words import shares, stages

    wanted = shares(keep)
    with stages() as tick:
        bench = open_bench(
            model,
            two_texts(calibration, evaluate),
            other_text(other_domain, calibration, evaluate),
            layer=layer,
            layout="two",
            context=context,
            tokens=(calibration_tokens, evaluation_tokens),
            device=device,
            progress=tick,
        )
        rows = compute(bench, wanted, refine=refine, heal_minutes=heal, work=work, seed=seed)
    return comparison_report(rows)


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
