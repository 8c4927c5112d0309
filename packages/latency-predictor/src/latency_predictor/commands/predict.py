"""`latency-predictor predict` and `explain`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from latency_predictor.commands import options as o
from mfi_command.cli import Report, Table, command


def _predicted(what: o.Chosen, **sizes: Any) -> Any:
    from latency_predictor.prediction import predict as run

    return run(**what.arguments(), **sizes)


@command(
    o.app,
    examples=[
        "latency-predictor predict --model opt-30b --device A100-80GB --batch 1 --prompt 512 --output 128",
        "latency-predictor predict --model llama-3-8b --device H200 --batch 16 --stack vllm --json",
        "latency-predictor predict --model llama-3-70b --device H100 --tensor-parallel 4 --stack vllm",
        "latency-predictor predict --model ./config.json --device L4 --weight-dtype int4",
    ],
)
@o.chosen
def predict(
    what: o.Chosen,
    batch: o.Batch = 1,
    prompt: o.Prompt = 512,
    output: Annotated[int, typer.Option(help="Tokens to generate.")] = 128,
) -> Report:
    """Latency of a batch of equal requests: prefill, decode step, total, with a 90 % interval."""
    found = _predicted(what, batch=batch, prompt=prompt, output=output)
    return _report(found, [_parts(found), _summary(found)])


@command(
    o.app,
    examples=[
        "latency-predictor explain --model opt-30b --device A100-80GB --output waterfall.png",
        "latency-predictor explain --model llama-3-8b --device H200 --batch 32 --prompt 1024",
    ],
)
@o.chosen
def explain(
    what: o.Chosen,
    batch: o.Batch = 1,
    prompt: o.Prompt = 512,
    tokens: Annotated[int, typer.Option(help="Tokens to generate.")] = 128,
) -> Report:
    """Where the milliseconds of a prefill and of a decode step go, as a waterfall."""
    from latency_predictor.explain import draw_waterfall, waterfall

    found = _predicted(what, batch=batch, prompt=prompt, output=tokens)
    rows = []
    for name, phase in (("prefill", found.prefill), ("decode", found.decode)):
        steps = waterfall(phase.parts)
        whole = sum(step.time_s for step in steps)
        rows += [[name, one.name, one.time_s * 1e3, f"{one.time_s / whole:.1%}"] for one in steps]
    report = _report(found, [Table("Where the time goes", ["phase", "what", "ms", "share"], rows)])
    return Report(
        fields={
            **report.fields,
            "steps": [{"phase": row[0], "name": row[1], "time_ms": row[2]} for row in rows],
        },
        tables=report.tables,
        notes=report.notes,
        draw=lambda: draw_waterfall(found),
    )


def _report(found: Any, tables: list[Table]) -> Report:
    return Report(
        fields=found.to_dict(),
        tables=tables,
        notes=[
            f"{found.tokens_per_s:.4g} tokens/s;"
            f" {found.memory_bytes / 1e9:.4g} GB of weights and cache a device",
            found.provenance,
            *found.notes,
        ],
    )


def _parts(found: Any) -> Table:
    rows = [[part.phase, part.name, part.count, part.time_s * 1e3] for part in found.breakdown]
    return Table("Where the time goes", ["phase", "operator", "count", "ms"], rows)


def _summary(found: Any) -> Table:
    rows: list[list[object]] = [
        ["prefill (time to first token)", *_ms(found.prefill)],
        ["decode step", *_ms(found.decode)],
        ["total", found.total_s * 1e3, found.low_s * 1e3, found.high_s * 1e3],
    ]
    title = f"{found.model} on {found.device}, {found.stack}"
    return Table(title, ["", "ms", "low (5 %)", "high (95 %)"], rows)


def _ms(phase: Any) -> list[float]:
    return [phase.time_s * 1e3, phase.low_s * 1e3, phase.high_s * 1e3]
