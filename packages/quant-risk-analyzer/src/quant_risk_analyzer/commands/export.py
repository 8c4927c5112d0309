"""`quant-risk-analyzer export`: one analysis in the words of each tool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mfi_command.cli import Report, Table, command
from quant_risk_analyzer.commands.application import app


@command(
    app,
    examples=[
        "quant-risk-analyzer export risk.json --to llm-compressor --file recipe.yaml",
        "quant-risk-analyzer export risk.json --to gguf",
        "quant-risk-analyzer export risk.json --format int4 --to sarif --file risk.sarif",
    ],
)
def export(
    source: Annotated[str, typer.Argument(metavar="JSON", help="What `rate` or `allocate` wrote as JSON.")],
    to: Annotated[
        str,
        typer.Option(
            help="compressed-tensors, llm-compressor, bitsandbytes, torchao, gptqmodel, auto-round, "
            "modelopt, gguf, sarif, json, csv or markdown."
        ),
    ],
    format: Annotated[
        str | None, typer.Option("--format", help="Which of the rated formats; C layers stay as they are.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="Write the recipe here; without it, it is printed.")
    ] = None,
) -> Report:
    """Write the recipe that a quantizer reads, from what `rate -o risk.json` or `allocate -o` wrote."""
    from mfi_command.files import atomic_file
    from quant_risk_analyzer.export import DIALECTS
    from quant_risk_analyzer.export import export as compute
    from quant_risk_analyzer.export.plan import read_plan

    plan = read_plan(source, format=format)
    text = compute(plan, to)
    if file is not None:
        with atomic_file(file) as temporary:
            temporary.write_text(text, encoding="utf-8")
    rows = [[kind.name, len(names)] for kind, names in plan.by_format().items()]
    rows.append(["full precision", len(plan.kept)])
    notes = [f"Use: {DIALECTS[to][1]}."]
    notes.append(f"wrote {file}" if file is not None else text)
    return Report(
        fields={"dialect": to, "text": text, "modules": dict(plan.assignment)},
        tables=[Table("Modules by format", ["format", "modules"], rows)],
        notes=notes,
    )
