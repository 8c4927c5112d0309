"""The umbrella command: report, verify, and every tool as a subcommand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import checkpoint_lens.cli
import latency_predictor.cli
import mm1_planner.cli
import quant_risk_analyzer.cli
import roofline.cli
import stable_ops.cli
import svd_compress.cli
from mfi_command import BadInput, atomic_file
from mfi_command.cli import Report, Seed, Table, command, create_app, entry_point, progress

app = create_app("mfi", distribution="math-for-infra", summary="The mathematics of inference on your model.")

for tool in (
    stable_ops,
    checkpoint_lens,
    svd_compress,
    quant_risk_analyzer,
    roofline,
    latency_predictor,
    mm1_planner,
):
    app.add_typer(tool.cli.app, name=tool.cli.app.tool)


@command(
    app,
    examples=[
        "mfi report",
        "mfi report path/to/model.gguf --device A100-SXM4-80GB --arrival-rate 50 --slo 'p99_sojourn<4'",
        "mfi report my-model/ --calibration traffic.txt --output report.html --json",
    ],
)
def report(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A folder (Hugging Face layout), a file (.safetensors .gguf .npz .bin), or 'reference'.",
        ),
    ] = "reference",
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The page: one HTML file.")
    ] = Path("mfi-report.html"),
    formats: Annotated[str, typer.Option(help="Number formats to rate, separated by commas.")] = "int8,int4",
    calibration: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Your text; without it, random tokens and bundled text."),
    ] = None,
    device: Annotated[str, typer.Option(help="From `roofline devices`.")] = "H100-SXM5-80GB",
    stack: Annotated[str, typer.Option(help="How the model is run: eager, cuda-graph, ...")] = "cuda-graph",
    dtype: Annotated[str, typer.Option(help="Of weights and activations on the device.")] = "bf16",
    prompt: Annotated[
        int | None,
        typer.Option(min=1, help="Tokens in, of a typical request; 512, or half the model's positions."),
    ] = None,
    output_tokens: Annotated[int, typer.Option(min=1, help="Tokens out, of a typical request.")] = 128,
    arrival_rate: Annotated[float, typer.Option(help="Requests per second.")] = 20.0,
    slo: Annotated[str, typer.Option(help="The promise, in seconds.")] = "p99_wait<0.2",
    max_loss_rise: Annotated[
        float, typer.Option(help="What one low-rank layer may cost, nats per token.")
    ] = 0.002,
    tokens: Annotated[
        int | None,
        typer.Option(
            min=256, help="Read by the stages that run the model; 4096, or 2048 above 50 M parameters."
        ),
    ] = None,
    seed: Seed = 0,
) -> Report:
    """Risk, compression, roofline, latency and replicas of one model, on one page."""
    from mfi.report.chain import run
    from mfi.report.question import Question

    if output.suffix.lower() != ".html":
        raise BadInput(f"the report is one HTML page; {output} does not end in .html")
    if output.is_dir() or not output.parent.is_dir():
        raise BadInput(f"cannot write {output}: name a file in a directory that exists")
    names = tuple(name.strip() for name in formats.split(",") if name.strip())
    question = Question(
        model=model,
        formats=names,
        calibration=calibration,
        device=device,
        stack=stack,
        dtype=dtype,
        prompt_tokens=prompt,
        output_tokens=output_tokens,
        arrival_rate_per_s=arrival_rate,
        slo=slo,
        max_loss_rise=max_loss_rise,
        tokens=tokens,
        seed=seed,
    )
    chain = run(question, progress)
    with atomic_file(output) as temporary:
        temporary.write_text(chain.page(), encoding="utf-8")
    return Report(
        fields={**chain.to_dict(), "page": output},
        tables=[
            Table(
                chain.title,
                ["question", "answer"],
                [[section.title, section.answer] for section in chain.sections],
            )
        ],
        notes=[f"The page with figures, tables and how each number was obtained: {output}"],
    )


@command(app, examples=["mfi verify", "mfi verify --only 'w09-*'", "mfi verify --json"])
def verify(
    *,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="GLOB", help="Rows to run; may be repeated.")
    ] = None,
) -> Report:
    """Compute every row of the acceptance table on this machine."""
    from mfi.verify import select
    from mfi.verify import verify as compute

    if not select(only or ()):
        raise BadInput(f"no row matches {' '.join(only or ())}; see mfi verify without --only for the ids")
    with progress("verify") as tick:
        verdicts = compute(only or (), on_progress=tick)
    passed = [verdict for verdict in verdicts if verdict.passed]
    failed = [verdict for verdict in verdicts if verdict.passed is False]
    skipped = [verdict for verdict in verdicts if verdict.skipped]
    counts = f"{len(passed)} passed, {len(failed)} failed, {len(skipped)} skipped"
    return Report(
        fields={
            "checks": [verdict.to_dict() for verdict in verdicts],
            "passed": len(passed),
            "failed": len(failed),
            "skipped": len(skipped),
        },
        tables=[
            Table(
                "Acceptance",
                ["row", "measured", "bound", "verdict", "detail", "s"],
                [
                    [
                        verdict.id,
                        _measured(verdict.measured),
                        verdict.bound,
                        "skipped" if verdict.skipped else "passed" if verdict.passed else "FAILED",
                        verdict.detail,
                        round(verdict.elapsed_s, 1),
                    ]
                    for verdict in verdicts
                ],
            )
        ],
        notes=[counts],
        over_limit=f"{counts}: {', '.join(verdict.id for verdict in failed)}" if failed else None,
    )


def _measured(value: object) -> object:
    if isinstance(value, dict):
        return "; ".join(
            f"{key} {item:.4g}" if isinstance(item, float) else f"{key} {item}" for key, item in value.items()
        )
    return value


main = entry_point(app, other_sections=["latency-gate"])
