"""The command stable-ops."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mfi_command import BadInput
from mfi_command.cli import Report, Seed, Table, command, create_app, entry_point, progress

app = create_app(
    "stable-ops",
    distribution="mfi-stable-ops",
    summary="Number formats, sums, factorisations and kernels, and how far each is from the truth.",
)

_FORMAT_HELP = "A name (see `stable-ops formats`), bits such as e6m9 or e4m3fn, or a TOML file."


@command(
    app,
    name="format",
    examples=["stable-ops format fp16", "stable-ops format fp8_e4m3fn --json", "stable-ops format e6m9"],
)
def format_(name: Annotated[str, typer.Argument(metavar="F", help=_FORMAT_HELP)]) -> Report:
    """Constants of a number format."""
    from stable_ops.fp import get_format

    constants = get_format(name).to_dict()
    # As text: rounded to a few digits these numbers would be wrong.
    rows = [[key, str(value)] for key, value in constants.items() if key != "format"]
    return Report(fields=constants, tables=[Table(str(constants["format"]), ["constant", "value"], rows)])


@command(app, examples=["stable-ops formats", "stable-ops formats --json"])
def formats() -> Report:
    """All number formats that have a name, and the block formats made of them."""
    from stable_ops.fp import BLOCK_FORMATS, FORMATS

    plain = [f.to_dict() for f in FORMATS.values()]
    blocks = [f.to_dict() for f in BLOCK_FORMATS.values()]
    columns = ["format", "bits", "specials", "eps", "max", "min_normal", "min_subnormal"]
    tables = [
        Table("Formats", columns, [[entry[key] for key in columns] for entry in plain]),
        Table("Block formats", list(blocks[0]), [list(entry.values()) for entry in blocks]),
    ]
    return Report(fields={"formats": plain, "block_formats": blocks}, tables=tables)


@command(
    app,
    name="round",
    examples=[
        "stable-ops round 0.1 --format fp16",
        "stable-ops round 1.99 --format e2m1 --rounding toward-zero",
    ],
)
def round_(
    value: Annotated[float, typer.Argument(help="A number; after -- if negative.")],
    format: Annotated[str, typer.Option(help=_FORMAT_HELP)] = "fp16",
    rounding: Annotated[str, typer.Option(help="nearest, toward-zero or stochastic.")] = "nearest",
    seed: Seed = 0,
) -> Report:
    """Round a number once to a format, and say what that costs."""
    import math

    from stable_ops.fp import get_format, round_to, ulp

    target = get_format(format)
    options: dict[str, Any] = {"rounding": rounding, "seed": seed}
    rounded = round_to(value, target, **options)
    unit = ulp(value, target)
    error = rounded - value
    fields = {
        "value": value,
        "rounded": rounded,
        "ulp": unit,
        "error_ulp": abs(error) / unit if math.isfinite(error) else math.inf,
        "format": target.name,
    }
    rows = [[key, str(fields[key])] for key in ("value", "rounded", "ulp", "error_ulp")]
    return Report(fields=fields, tables=[Table(f"{value:g} in {target.name}, {rounding}", ["", ""], rows)])


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
    format: Annotated[str, typer.Option(help=_FORMAT_HELP)] = "fp16",
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
    format: Annotated[str, typer.Option(help=_FORMAT_HELP)] = "bf16",
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
        notes=[f"{count} hazards in {report.operations} {judged}."],
        over_limit=over if max_hazards is not None and count > max_hazards else None,
    )


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


main = entry_point(app)
