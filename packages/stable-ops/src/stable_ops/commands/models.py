"""Commands about models and what they answer: hazards of a format, what sampling keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mfi_command.cli import Report, Table, command
from stable_ops.commands.application import app


@command(
    app,
    examples=[
        "stable-ops audit my_model:example",
        "stable-ops audit my_model:example --format fp8_e4m3fn --accumulator same --json",
        "stable-ops audit reference",
        "stable-ops audit activations.npz",
    ],
)
def audit(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="SUBJECT",
            help="MODULE:OBJECT, a function without parameters that returns (torch module, inputs), imported "
            "and run; a checkpoint (folder, .gguf, .bin, 'reference'), run on text; or a file of tensors "
            "(.npz, .npy, .safetensors).",
        ),
    ],
    format: Annotated[
        list[str] | None,
        typer.Option(help="fp16, bf16, fp8_e4m3fn or fp8_e5m2; repeat. [default: fp16 bf16]"),
    ] = None,
    accumulator: Annotated[str, typer.Option(help="Of sums inside an operation: fp32 or same.")] = "fp32",
    text: Annotated[
        str | None, typer.Option(metavar="FILE", help="Text for a checkpoint. [default: bundled]")
    ] = None,
    tokens: Annotated[int, typer.Option(min=1, max=8192, help="How much of the text is run.")] = 128,
    max_hazards: Annotated[int | None, typer.Option(min=0, help="Exit code 1 if there are more.")] = None,
) -> Report:
    """Predict from one float32 run of a torch module, or from tensors, where narrow formats lose digits."""
    from stable_ops.audit import audit as run_audit
    from stable_ops.audit import audit_tensors, load_checkpoint, load_subject, load_tensors
    from stable_ops.audit.subjects import kind_of

    options: dict[str, Any] = {"formats": format or ["fp16", "bf16"], "accumulator": accumulator}
    kind = kind_of(subject)
    if kind == "tensors":
        report = audit_tensors(load_tensors(subject), **options)
    else:
        loaded = load_checkpoint(subject, text=text, tokens=tokens) if kind == "checkpoint" else None
        module, inputs = loaded or load_subject(subject)
        report = run_audit(module, *inputs, **options)
    lines = [
        [h.where, h.op, h.tensor, h.kind, h.format, h.bits_lost, h.safe_dtype, h.fix] for h in report.hazards
    ]
    headers = ["where", "op", "tensor", "kind", "format", "bits lost", "safe", "fix"]
    count = len(report.hazards)
    over = f"{count} hazards, more than {max_hazards}"
    judged = "tensors" if kind == "tensors" else "operations, on these inputs"
    return Report(
        fields=report.to_dict(),
        tables=[Table(f"Hazards of {subject}", headers, lines)] if lines else [],
        notes=[f"{count} hazards in {report.operations} {judged}.", *_time_of(report.run_s)],
        over_limit=over if max_hazards is not None and count > max_hazards else None,
    )


def _time_of(run_s: float | None) -> list[str]:
    if run_s is None:
        return []
    return [
        f"The audited run took {1e3 * run_s:.1f} ms. A fixed time an operation makes it more than three "
        "times a plain run where that takes less than about 2 ms."
    ]


@command(
    app,
    examples=[
        "stable-ops sampling logits.npy --top-p 0.9",
        "stable-ops sampling logits.npy --temperature 0.7 --top-k 50 --top-p 0.95 --min-p 0.05 --json",
    ],
)
def sampling(
    logits: Annotated[
        Path, typer.Argument(metavar="LOGITS", help="A .npy file of logits, shape (..., vocabulary).")
    ],
    temperature: Annotated[float, typer.Option(help="Above 0.")] = 1.0,
    top_k: Annotated[int | None, typer.Option(help="Keep that many. [default: all]")] = None,
    top_p: Annotated[float | None, typer.Option(help="Keep that share of the mass. [default: all]")] = None,
    min_p: Annotated[
        float | None, typer.Option(help="Keep from that share of the largest probability on. [default: all]")
    ] = None,
    first: Annotated[int, typer.Option(min=1, help="Tokens to print of each row.")] = 10,
) -> Report:
    """What temperature, top-k, top-p and min-p leave of a distribution: tokens, mass, entropy."""
    from stable_ops.ops.sampling import truncation_report
    from stable_ops.ops.sampling.files import read_logits

    reports = truncation_report(
        read_logits(logits), temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p
    )
    rows = [{"row": i, **report.to_dict(first=first)} for i, report in enumerate(reports)]
    names = ["row", "support", "vocabulary", "mass_kept", "entropy_nats", "effective_support", "limited_by"]
    return Report(
        fields={"rows": rows},
        tables=[
            Table(
                "Truncated distributions",
                [*(name.replace("_", " ") for name in names), "first tokens"],
                [[*(row[name] for name in names), " ".join(map(str, row["tokens"]))] for row in rows],
            )
        ],
    )
