"""The command stable-ops."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mfi_command.cli import Report, Seed, Table, command, create_app, entry_point, progress

app = create_app(
    "stable-ops",
    distribution="mfi-stable-ops",
    summary="Number formats, sums, factorisations and kernels, and how far each is from the truth.",
)

_FORMAT_HELP = "fp64, fp32, fp16, bf16, fp8_e4m3fn, fp8_e5m2 or fp4_e2m1."


@command(app, name="format", examples=["stable-ops format fp16", "stable-ops format fp8_e4m3fn --json"])
def format_(name: Annotated[str, typer.Argument(metavar="F", help=_FORMAT_HELP)]) -> Report:
    """Constants of a number format."""
    from stable_ops.fp import get_format

    constants = get_format(name).to_dict()
    # As text: rounded to a few digits these numbers would be wrong.
    rows = [[key, str(value)] for key, value in constants.items() if key != "format"]
    return Report(fields=constants, tables=[Table(str(constants["format"]), ["constant", "value"], rows)])


@command(
    app,
    examples=[
        "stable-ops accumulate --format fp16 --value 1e-4 --count 10000",
        "stable-ops accumulate --format fp16 --value 1e-4 --count 10000 --order kahan",
    ],
)
def accumulate(
    format: Annotated[str, typer.Option(help=_FORMAT_HELP)] = "fp16",
    value: Annotated[float, typer.Option(help="What is added each time.")] = 1e-4,
    count: Annotated[int, typer.Option(min=1, max=10_000_000, help="How often.")] = 10_000,
    order: Annotated[str, typer.Option(help="sequential, pairwise, kahan or blocked.")] = "sequential",
    accumulator: Annotated[str | None, typer.Option(help="Format of the running sum, if another.")] = None,
    block: Annotated[int, typer.Option(min=1, help="Running sums of the order 'blocked'.")] = 128,
) -> Report:
    """Rounding error of a sum of equal values, rounded after each addition."""
    import numpy as np

    from stable_ops.fp import accumulate as compute

    options: dict[str, Any] = {"format": format, "order": order, "accumulator": accumulator, "block": block}
    result = compute(np.full(count, value), **options)
    fields = result.to_dict()
    rows = [[key, fields[key]] for key in ("sum", "exact", "relative_error", "stagnated_at")]
    notes = []
    if result.stagnated_at is not None:
        lost = count - result.stagnated_at
        notes.append(
            f"From addition {result.stagnated_at} on the sum stayed the same: {lost} values were lost."
        )
    title = f"{count} x {value:g} in {result.format}, {order}"
    return Report(fields=fields, tables=[Table(title, ["", ""], rows)], notes=notes)


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


@command(
    app,
    examples=[
        "stable-ops check scipy.special:softmax --against softmax",
        "stable-ops check torch:softmax --against softmax --library torch --dtype float16 --dtype bfloat16",
    ],
)
def check(
    function: Annotated[str, typer.Argument(metavar="MODULE:FUNCTION", help="What to import and try.")],
    against: Annotated[str, typer.Option(help="softmax, layer_norm, swiglu, nucleus, sample, ...")],
    dtype: Annotated[
        list[str] | None, typer.Option(help="Repeat for several. [default: float16 float32]")
    ] = None,
    library: Annotated[str, typer.Option(help="What the function takes: numpy or torch.")] = "numpy",
    device: Annotated[str, typer.Option(help="Where tensors lie: cpu, cuda, cuda:1.")] = "cpu",
    max_ulp: Annotated[float, typer.Option(min=0.0, help="Allowed error; 0.5 is correct rounding.")] = 1.0,
) -> Report:
    """Try anybody's kernel on hard inputs against an oracle; exit code 1 if it fails."""
    from stable_ops.testing import check as try_kernel
    from stable_ops.testing.target import load_function

    target = load_function(function)
    with progress("cases") as tick:
        report = try_kernel(
            target,
            against=against,
            dtypes=dtype or ["float16", "float32"],
            max_ulp=max_ulp,
            library=library,
            device=device,
            on_progress=tick,
        )
    numbers: list[list[object]] = [
        ["largest error, ulp", report.max_ulp],
        ["outputs misrounded", f"{report.misrounded:.3%} of {report.outputs}"],
        ["same bits in batches of 1 to 2048 rows", report.batch_invariant],
        ["within 2^-40 of a tie, not settled", f"{report.near}, {report.unsettled}"],
    ]
    tables = [Table(f"{function} against {against}", ["", ""], numbers)]
    if report.failures:
        failures = [[f.case, f.dtype, f.sort, f.detail] for f in report.failures]
        tables.append(Table("Failures", ["case", "dtype", "sort", "detail"], failures))
    count = len(report.failures)
    failed = f"{function} fails {count} of the trials against {against}" if count else None
    return Report(fields=report.to_dict(), tables=tables, over_limit=failed)


@command(
    app,
    examples=[
        "stable-ops bench --elements 1048576 --calls 3",
        "stable-ops bench --device cuda --op softmax --length 4096 --length 131072 --backend stable_ops",
    ],
)
def bench(
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    op: Annotated[
        list[str] | None,
        typer.Option(help="softmax, logsumexp, layer_norm, top_p ...; repeat. [default: all]"),
    ] = None,
    length: Annotated[list[int] | None, typer.Option(min=1, help="Numbers in a row; repeat.")] = None,
    dtype: Annotated[
        list[str] | None,
        typer.Option(help="float32, float16, bfloat16; repeat. [default: bfloat16, cpu: float32]"),
    ] = None,
    backend: Annotated[
        list[str] | None, typer.Option(help="Library to compare; repeat. [default: those installed]")
    ] = None,
    elements: Annotated[
        int | None, typer.Option(min=1, help="Numbers in a tensor. [default: 2^28, cpu: 2^24]")
    ] = None,
    calls: Annotated[
        int | None, typer.Option(min=1, help="Timed calls of each. [default: 51, cpu: 11]")
    ] = None,
    accuracy: Annotated[bool, typer.Option("--accuracy", help="On a GPU judge errors and bits too.")] = False,
) -> Report:
    """Time the operators and other libraries' in turn, as a share of copy bandwidth in the same run."""
    from stable_ops.bench import bench as run
    from stable_ops.bench import table

    with progress("points") as tick:
        report = run(
            device=device,
            ops=op,
            lengths=length,
            dtypes=dtype,
            backends=backend,
            elements=elements,
            calls=calls,
            accuracy=accuracy,
            on_progress=tick,
        )
    parts = {
        f"Share of bandwidth on {report.device}": (table.speed, report.rows),
        "Host time of a call on a tiny input, us": (table.launches, report.launches),
        "Worst error": (table.accuracy, report.accuracy),
    }
    tables = [Table(title, *make(report)) for title, (make, found) in parts.items() if found]
    reasons = dict.fromkeys((a.backend, a.op, a.reason) for a in report.absent)
    notes = [f"{name}, {what}: {why}" for name, what, why in reasons]
    ours = [a.op for a in report.absent if a.failed and a.backend.startswith("stable_ops")]
    failed = f"stable_ops itself failed on {', '.join(dict.fromkeys(ours))}" if ours else None
    return Report(fields=report.to_dict(), tables=tables, notes=notes, over_limit=failed)


@command(
    app,
    examples=[
        "stable-ops audit my_model:example",
        "stable-ops audit my_model:example --format fp8_e4m3fn --accumulator same --json",
    ],
)
def audit(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:OBJECT",
            help="A function without parameters that returns (torch module, inputs). It is imported and run.",
        ),
    ],
    format: Annotated[
        list[str] | None,
        typer.Option(help="fp16, bf16, fp8_e4m3fn or fp8_e5m2; repeat. [default: fp16 bf16]"),
    ] = None,
    accumulator: Annotated[str, typer.Option(help="Of sums inside an operation: fp32 or same.")] = "fp32",
    max_hazards: Annotated[int | None, typer.Option(min=0, help="Exit code 1 if there are more.")] = None,
) -> Report:
    """Predict from one float32 run of a torch module where narrow formats lose its digits."""
    from stable_ops.audit import audit as run_audit
    from stable_ops.audit import load_subject

    module, inputs = load_subject(subject)
    options: dict[str, Any] = {"formats": format or ["fp16", "bf16"], "accumulator": accumulator}
    report = run_audit(module, *inputs, **options)
    lines = [
        [h.where, h.op, h.tensor, h.kind, h.format, h.bits_lost, h.safe_dtype, h.fix] for h in report.hazards
    ]
    headers = ["where", "op", "tensor", "kind", "format", "bits lost", "safe", "fix"]
    count = len(report.hazards)
    over = f"{count} hazards, more than {max_hazards}"
    return Report(
        fields=report.to_dict(),
        tables=[Table(f"Hazards of {subject}", headers, lines)] if lines else [],
        notes=[f"{count} hazards in {report.operations} operations, on these inputs."],
        over_limit=over if max_hazards is not None and count > max_hazards else None,
    )


main = entry_point(app)
