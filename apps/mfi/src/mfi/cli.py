"""The umbrella command: report, verify, and every tool as a subcommand."""

from __future__ import annotations

from typing import Annotated

import checkpoint_lens.cli
import latency_predictor.cli
import mm1_planner.cli
import quant_risk_analyzer.cli
import roofline.cli
import stable_ops.cli
import svd_compress.cli
import typer

from mfi_command import BadInput
from mfi_command.cli import Report, Table, command, create_app, entry_point, progress

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
