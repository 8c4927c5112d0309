"""Commands about rounding errors that add up: sums, steps of an optimizer, factorisations."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mfi_command.cli import Report, Seed, Table, command
from stable_ops.commands.application import FORMAT_HELP, app


@command(
    app,
    examples=[
        "stable-ops accumulate --format fp16 --value 1e-4 --count 10000",
        "stable-ops accumulate --format fp16 --value 1e-4 --count 10000 --order kahan",
        "stable-ops accumulate --format bf16 --rounding stochastic --seed 1",
        "stable-ops accumulate --values a.npy --times b.npy --format fp8_e4m3fn --accumulator fp32",
    ],
)
def accumulate(
    format: Annotated[str, typer.Option(help=FORMAT_HELP)] = "fp16",
    value: Annotated[float, typer.Option(help="What is added each time.")] = 1e-4,
    count: Annotated[int, typer.Option(min=1, max=10_000_000, help="How often.")] = 10_000,
    values: Annotated[
        str | None, typer.Option(metavar="FILE", help="Add these numbers instead: text or .npy.")
    ] = None,
    times: Annotated[
        str | None, typer.Option(metavar="FILE", help="Multiply them by these: a dot product.")
    ] = None,
    order: Annotated[
        str, typer.Option(help="sequential, pairwise, blocked, kahan or neumaier.")
    ] = "sequential",
    accumulator: Annotated[str | None, typer.Option(help="Format of the running sum, if another.")] = None,
    block: Annotated[int, typer.Option(min=1, help="Running sums of the order 'blocked'.")] = 128,
    rounding: Annotated[str, typer.Option(help="nearest, toward-zero or stochastic.")] = "nearest",
    seed: Seed = 0,
) -> Report:
    """Rounding error of a sum or dot product, rounded after each operation."""
    import numpy as np

    from stable_ops.fp import accumulate as add
    from stable_ops.fp import accumulate_dot
    from stable_ops.fp.reading import read_values

    options: dict[str, Any] = {
        "format": format,
        "order": order,
        "accumulator": accumulator,
        "block": block,
        "rounding": rounding,
        "seed": seed,
    }
    row = np.full(count, value) if values is None else read_values(values)
    result = add(row, **options) if times is None else accumulate_dot(row, read_values(times), **options)
    fields = result.to_dict()
    rows = [[key, fields[key]] for key in ("sum", "exact", "relative_error", "stagnated_at")]
    notes = []
    if result.stagnated_at is not None:
        lost = result.count - result.stagnated_at
        notes.append(
            f"From addition {result.stagnated_at} on the sum stayed the same: {lost} values were lost."
            if order != "blocked"
            else f"After {result.stagnated_at} values the first of the {block} running sums stayed the same."
        )
    what = f"{result.count} x {value:g}" if values is None else f"{result.count} values of {values}"
    title = f"{what} in {result.format}, {order}, {rounding}"
    return Report(fields=fields, tables=[Table(title, ["", ""], rows)], notes=notes)


@command(
    app,
    examples=[
        "stable-ops stagnation weights.npz --gradients gradients.npz --lr 1e-4",
        "stable-ops stagnation weights.npy --lr 1e-5 --format fp16 --json",
    ],
)
def stagnation(
    weights: Annotated[str, typer.Argument(metavar="FILE", help="Weights: .npz, .npy or .safetensors.")],
    gradients: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="What the rate multiplies, same names. [default: ones, as in Adam]"
        ),
    ] = None,
    lr: Annotated[float, typer.Option(help="Learning rate.")] = 1e-3,
    format: Annotated[str, typer.Option(help=FORMAT_HELP)] = "bf16",
    allowed: Annotated[float, typer.Option(help="Share of stuck weights to accept, below 1.")] = 0.01,
    max_share: Annotated[float | None, typer.Option(min=0, help="Exit code 1 if more are stuck.")] = None,
) -> Report:
    """Which weights one step cannot move, and which learning rate or format would."""
    from stable_ops.audit.subjects import load_tensors
    from stable_ops.optim import stagnation as compute

    values = load_tensors(weights)
    steps = None if gradients is None else load_tensors(gradients)
    if steps is not None and len(values) == len(steps) == 1:
        steps = dict(zip(values, steps.values(), strict=True))  # a .npy file names its tensor after itself
    report = compute(values, steps, lr=lr, format=format, allowed=allowed)
    lines = [[t.name, t.size, t.stuck, t.stuck / max(1, t.size), t.half_ulps] for t in report.tensors]
    over = f"{report.share:.3%} of the weights do not move, more than {max_share}"
    return Report(
        fields=report.to_dict(),
        tables=[
            Table(
                f"One step of {lr:g} in {report.format}",
                ["tensor", "updated", "stuck", "share", "median update, half ulps"],
                lines,
            )
        ],
        notes=[
            f"{report.stuck} of {report.size} weights with an update stay put ({report.share:.1%}).",
            f"At most {allowed:.1%} do with a learning rate above {report.lr_needed:g}, or in "
            f"{report.format_needed or 'no format that is known'} at this one.",
        ],
        over_limit=over if max_share is not None and report.share > max_share else None,
    )


@command(app, examples=["stable-ops qr --condition 1e6 --dtype float32"])
def qr(
    condition: Annotated[float, typer.Option(help="Condition number of the test matrix, at least 1.")] = 1e6,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    rows: Annotated[int, typer.Option(min=1, max=4096, help="Rows of the matrix.")] = 200,
    columns: Annotated[int, typer.Option(min=1, max=1024, help="Columns, at most its rows.")] = 100,
    seed: Seed = 0,
) -> Report:
    """Orthogonality lost by three QR factorisations of one ill-conditioned matrix."""
    from stable_ops.linalg.comparison import compare_qr

    methods = compare_qr(condition=condition, dtype=dtype, rows=rows, columns=columns, seed=seed)
    lines = [[m.name, m.orthogonality, m.backward_error] for m in methods]
    table = Table(
        f"Condition {condition:g}, {dtype}, {rows} x {columns}",
        ["method", "orthogonality |I - Q'Q|", "backward error, LAPACK ratio"],
        lines,
    )
    return Report(
        fields={"methods": [m.to_dict() for m in methods]},
        tables=[table],
        notes=["Frobenius norm; |A - QR| / (rows eps |A|) in 1-norms, sound below 30."],
    )
