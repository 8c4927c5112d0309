"""`quant-risk-analyzer allocate`: a format for each layer under a budget."""

from __future__ import annotations

from typing import Annotated

import typer

from mfi_command.cli import Model, Report, Seed, Table, command
from quant_risk_analyzer.commands.application import Calibration, Formats, GroupSize, Layers, Tokens, app
from quant_risk_analyzer.commands.rating import rated


@command(
    app,
    examples=[
        "quant-risk-analyzer allocate reference --average-bits 4.5",
        "quant-risk-analyzer allocate reference --max-loss 0.05 --evaluate reference:in-domain",
    ],
)
def allocate(
    model: Model,
    average_bits: Annotated[
        float | None, typer.Option(min=0, help="Budget per weight, scales included.")
    ] = None,
    total_bytes: Annotated[
        float | None, typer.Option(min=0, help="Budget of all rated layers, in bytes.")
    ] = None,
    max_loss: Annotated[
        float | None, typer.Option(min=0, help="In place of a budget: the most summed risk, nats per token.")
    ] = None,
    formats: Formats = "int3,int4,int5,int6,int8",
    calibration: Calibration = None,
    granularity: GroupSize = "channel",
    layers: Layers = "*",
    tokens: Tokens = 4096,
    fused: Annotated[
        bool,
        typer.Option(
            help="One format for q, k, v of a block, for gate, up, and for its experts: runtimes fuse."
        ),
    ] = True,
    evaluate: Annotated[
        str | None, typer.Option(help="Text, unseen by the rating, to measure the whole assignment on.")
    ] = None,
    seed: Seed = 0,
) -> Report:
    """Choose a format for each layer under a budget of bits, bytes or loss."""
    from checkpoint_lens import read_text
    from mfi_command import BadInput
    from quant_risk_analyzer.allocation import allocate as compute
    from quant_risk_analyzer.texts import refuse_same
    from quant_risk_analyzer.together import measure_together

    if [average_bits, total_bytes, max_loss].count(None) != 2:
        raise BadInput("expected exactly one of --average-bits, --total-bytes and --max-loss")
    unseen = None if evaluate is None else read_text(evaluate)
    if unseen is not None and calibration is not None:
        refuse_same(read_text(calibration), unseen)
    report = rated(model, formats, calibration, granularity, layers, tokens, None, seed)
    found = compute(
        report, average_bits=average_bits, total_bytes=total_bytes, max_loss=max_loss, fused=fused
    )
    rows = [[layer.name, found.assignment[layer.name]] for layer in report.layers]
    least = f"{found.lower_bound:.3g} {'bytes' if max_loss is not None else 'nats per token'}"
    judged = None
    if unseen is not None:
        judged = measure_together(model, unseen, found.assignment, granularity=granularity)
    notes = [
        f"{found.average_bits:.3f} bits per weight, {found.total_bytes:.0f} bytes with scales; predicted "
        "rise of "
        f"the loss {found.predicted_loss_increase:.3g} nats per token; nothing within it is below {least}"
        f"{'' if found.optimal else ' (the solver ran out of time)'}."
    ]
    if judged is not None:
        notes.append(
            f"Measured with all layers quantized, {judged.tokens} tokens: KL {judged.kl:.4f} +- "
            f"{judged.kl_stderr:.4f} nats per token, perplexity {judged.perplexity:.2f}."
        )
    return Report(
        fields={**found.to_dict(), **({"measured": judged.to_dict()} if judged else {})},
        tables=[Table("Format of each layer", ["layer", "format"], rows)],
        notes=notes,
    )
