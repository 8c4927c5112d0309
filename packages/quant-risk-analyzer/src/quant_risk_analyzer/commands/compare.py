"""`quant-risk-analyzer compare`: what a fine-tune made riskier."""

from __future__ import annotations

from typing import Annotated

import typer

from mfi_command.cli import Report, Seed, Table, command, progress
from quant_risk_analyzer.commands.application import (
    By,
    Calibration,
    Formats,
    GroupSize,
    Layers,
    Risky,
    Safe,
    Tokens,
    app,
)

Checkpoint = Annotated[str, typer.Argument(help="As MODEL of `rate`.")]
SHOWN = 20


@command(
    app,
    examples=[
        "quant-risk-analyzer compare ./base ./fine-tuned --formats int4",
        "quant-risk-analyzer compare ./base ./fine-tuned --fail-on-worse",
    ],
)
def compare(
    before: Checkpoint,
    after: Checkpoint,
    formats: Formats = "int8,int4",
    calibration: Calibration = None,
    granularity: GroupSize = "channel",
    layers: Layers = "*",
    tokens: Tokens = 4096,
    safe: Safe = 1e-3,
    risky: Risky = 1e-2,
    by: By = "risk",
    fail_on_worse: Annotated[
        bool, typer.Option("--fail-on-worse", help="Exit with 1 when a layer's grade falls.")
    ] = False,
    seed: Seed = 0,
) -> Report:
    """Rate two checkpoints on the same tokens and list the layers that changed most."""
    from checkpoint_lens import read_text
    from quant_risk_analyzer.comparison import compare as compute
    from quant_risk_analyzer.ratings import Thresholds

    limits = Thresholds(safe=safe, risky=risky, by=by)
    text = None if calibration is None else read_text(calibration)
    with progress("risk") as tick:
        found = compute(
            before,
            after,
            formats=formats,
            calibration=text,
            granularity=granularity,
            layers=layers,
            tokens=tokens,
            thresholds=limits,
            seed=seed,
            on_progress=tick,
        )
    worse = [each for each in found.changes if each.worse]
    certain = [each for each in found.changes if each.certain and each.factor > 1]
    shown = list(dict.fromkeys([*worse, *found.changes[:SHOWN]]))
    names = ", ".join(f"{each.name} ({each.format})" for each in worse[:3])
    return Report(
        fields=found.to_dict(),
        tables=[
            Table(
                "What changed most, risk in nats per token",
                ["layer", "format", "before", "after", "grade", "factor", "beyond the intervals"],
                [
                    [
                        each.name,
                        each.format,
                        each.risk_before,
                        each.risk_after,
                        f"{each.rating_before} to {each.rating_after}",
                        each.factor,
                        each.certain,
                    ]
                    for each in shown
                ],
            )
        ],
        notes=[
            f"{len(worse)} grades fell; {len(certain)} of {len(found.changes)} risks rose beyond their 95 % "
            f"intervals ({found.after.tier}).",
            *(
                f"Only in {which}: {len(missing)} layers, the first is {missing[0]}."
                for which, missing in (("before", found.only_before), ("after", found.only_after))
                if missing
            ),
        ],
        over_limit=f"{len(worse)} grades fell: {names}" if fail_on_worse and worse else None,
    )
