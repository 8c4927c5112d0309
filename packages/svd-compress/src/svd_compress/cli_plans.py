"""The commands that try plans for a whole model: compress, scan, compare."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from mfi_command.cli import Model, Report, Seed, command
from svd_compress.cli_options import (
    Calibration,
    CalibrationTokens,
    Context,
    Device,
    Evaluate,
    EvaluationTokens,
    Executor,
    Layer,
    Layout,
    OtherDomain,
    Work,
    app,
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
    heal: Annotated[
        float,
        typer.Option(metavar="MINUTES", help="Train the factors for so long; kept if that measures better."),
    ] = 0.0,
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
