"""`latency-predictor collect`, `fit` and `calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latency_predictor.commands import options as o
from mfi_command.cli import Report, Table, command, progress

Rows = Annotated[Path, typer.Argument(metavar="ROWS", help="Measurements: see the guide for the forms.")]


@command(
    o.app,
    examples=[
        "latency-predictor collect rows.json",
        "latency-predictor collect rows.json --seconds 60 --models opt-1.3b,llama-3.2-1b",
        "latency-predictor collect cpu.json --device cpu --parts micro",
    ],
)
def collect(
    rows: Annotated[
        Path, typer.Argument(metavar="FILE", help="JSON to write; a later call goes on with it.")
    ],
    device: Annotated[str, typer.Option(help="cuda or cpu; by default the GPU where there is one.")] = "",
    seconds: Annotated[float, typer.Option(min=1, help="Stop after about so long.")] = 600,
    models: Annotated[
        str, typer.Option(help="Names, separated by commas; by default a set of families.")
    ] = "",
    stacks: Annotated[str, typer.Option(help="cuda-graph, compiled, eager, or loop on a CPU.")] = "",
    parts: Annotated[str, typer.Option(help="micro, passes, sweep.")] = "",
    dtype: Annotated[str, typer.Option(help="bf16, fp16 or fp32.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="Of the order.")] = 0,
) -> Report:
    """Measure operators and whole passes on this machine; needs torch (extra [collect])."""
    from latency_predictor.collect import collect as run
    from latency_predictor.collect.run import PARTS

    def names(text: str) -> tuple[str, ...]:
        return tuple(filter(None, (part.strip() for part in text.split(","))))

    with progress("measure") as tick:
        found = run(
            rows,
            device=device,
            seconds=seconds,
            models=names(models),
            stacks=names(stacks),
            parts=names(parts) or PARTS,
            dtype=dtype,
            seed=seed,
            on_progress=tick,
        )
    kinds = sorted({row["kind"] for row in found["rows"]})
    counts = [[kind, sum(row["kind"] == kind for row in found["rows"])] for kind in kinds]
    return Report(
        fields={
            "file": str(rows),
            "rows": len(found["rows"]),
            "kinds": dict(counts),
            "failed": len(found["failed"]),
        },
        tables=[Table(f"{found['device']}, {found['dtype']}", ["kind", "rows"], counts)],
        notes=[f"{len(found['failed'])} could not be measured"] if found["failed"] else [],
    )


@command(
    o.app,
    examples=[
        "latency-predictor fit rows.json --write my-gpu.json",
        "latency-predictor fit measured.csv --phase decode --json",
    ],
)
def fit(
    rows: Rows,
    phase: Annotated[str, typer.Option(help="Only rows of this phase, for the baseline.")] = "",
    device: Annotated[str, typer.Option(help="Its ceilings, where the name in the file is not enough.")] = "",
    write: Annotated[Path | None, typer.Option(help="Write the fit here, for `predict --fit`.")] = None,
) -> Report:
    """Fit a device and its stacks on rows of `collect`; of other rows the linear baseline alone."""
    from latency_predictor.baseline import fit as baseline
    from latency_predictor.baseline import read_rows
    from latency_predictor.fitting.own import fit_own, read_collected
    from mfi_command import BadInput

    if (
        rows.suffix == ".json"
        and rows.is_file()
        and '"kind"' in rows.read_text(encoding="utf-8", errors="replace")
    ):
        found = fit_own(read_collected(rows), device=device or None)
        if write is not None:
            found.write(write)
        table = [
            [stack, one, v["rows"], v["median_ape"], v["p90_ape"], v["coverage"]]
            for stack, intervals in found.intervals.items()
            for one, v in intervals.items()
        ]
        columns = ["stack", "phase", "rows", "median error", "90 % are within", "interval holds"]
        return Report(
            fields={
                "device": found.device.name,
                "rows": found.rows,
                "stacks": {name: stack.to_dict() for name, stack in found.stacks.items()},
                "held_out": found.intervals,
                "notes": list(found.notes),
            },
            tables=[Table("On families of models left out of the fit", columns, table)] if table else [],
            notes=[f"{found.rows} rows of {found.device.name}", *found.notes],
        )
    if write is not None:
        raise BadInput(f"{rows}: --write needs rows of `collect`; for a stack's scalar use `calibrate`")
    line = baseline(read_rows(rows, phase=phase)).to_dict()
    alpha, beta, gamma, delta = line["coefficients"].values()
    return Report(
        fields=line,
        tables=[
            Table(
                "Linear baseline", ["", "value"], [[key, line[key]] for key in line if key != "coefficients"]
            )
        ],
        notes=[f"seconds = {alpha:.4g} M + {beta:.4g} C + {gamma:.4g} B + {delta:.4g} (M in 1e9 parameters)"],
    )


@command(
    o.app,
    examples=[
        "latency-predictor calibrate bench.json --device H100 --model llama-3-8b --write own.json",
        "latency-predictor calibrate llama-bench.json --device L4 --stack cuda-graph --model llama-2-7b",
    ],
)
def calibrate(
    rows: Rows,
    device: o.Device,
    stack: o.Stack = "vllm",
    model: Annotated[
        str, typer.Option(help="What the model is called here, if the file has another name.")
    ] = "",
    form: Annotated[
        str, typer.Option(help="rows, llama-bench, vllm-bench, guidellm, aiperf; found out.")
    ] = "",
    write: Annotated[Path | None, typer.Option(help="Write the stack here, for `predict --fit`.")] = None,
) -> Report:
    """Move a stack's scalar by a few measurements of your own, after dropping those that cannot be true."""
    from latency_predictor.calibration import calibrate as run
    from latency_predictor.calibration import write_calibration
    from latency_predictor.importing import read_measurements

    found = run(read_measurements(rows, model=model, form=form), device=device, stack=stack)
    if write is not None:
        write_calibration(write, found, device=device)
    table = [[found.stack.name, found.factor, found.factor_low, found.factor_high, found.rows]]
    return Report(
        fields=found.to_dict(),
        tables=[
            Table(
                f"Against {stack} as it ships", ["stack", "scalar", "low (5 %)", "high (95 %)", "rows"], table
            )
        ],
        notes=found.linted.sentences(),
    )
