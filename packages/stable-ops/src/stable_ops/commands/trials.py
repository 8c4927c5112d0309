"""Commands that try kernels: against an oracle, against planted faults, against the clock."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mfi_command import BadInput
from mfi_command.cli import Report, Table, command, progress
from stable_ops.commands.application import app


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


@command(app, examples=["stable-ops faults", "stable-ops faults --against rms_norm --json"])
def faults(
    against: Annotated[str | None, typer.Option(help="Only those of one operator.")] = None,
) -> Report:
    """Let `check` try its planted faults, each a kernel with one mistake; exit code 1 if one passes."""
    from stable_ops.testing import check as try_kernel
    from stable_ops.testing.faults import FAULTS

    planted = [fault for fault in FAULTS if against in (None, fault.op)]
    if not planted:
        raise BadInput(
            f"no fault is planted in {against!r}: use one of {', '.join({f.op: 0 for f in FAULTS})}"
        )
    rows: list[dict[str, Any]] = []
    with progress("faults") as tick:
        for i, fault in enumerate(planted, start=1):
            found = try_kernel(fault.function, against=fault.op, max_ulp=0.5, max_failures=1).failures
            by = (
                {"found_by": found[0].sort, "case": found[0].case}
                if found
                else {"found_by": None, "case": None}
            )
            rows.append({"op": fault.op, "name": fault.name, "mistake": fault.mistake, **by})
            tick(i, len(planted))
    missed = [row for row in rows if row["found_by"] is None]
    share = 1 - len(missed) / len(rows)
    headers = ["op", "mistake", "found_by", "case"]
    return Report(
        fields={"faults": rows, "found": len(rows) - len(missed), "share": share},
        tables=[Table("Planted faults", headers, [[row[key] for key in headers] for row in rows])],
        notes=[f"{len(rows) - len(missed)} of {len(rows)} found: {share:.0%}."],
        over_limit=f"{len(missed)} planted faults pass the trial" if missed else None,
    )


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
