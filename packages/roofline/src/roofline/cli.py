"""The command `roofline`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mfi_command.cli import Report, Seed, Table, command, create_app, entry_point, progress

app = create_app(
    "roofline",
    distribution="roofline",
    summary="What limits a model on this hardware: its ceilings, its operators.",
)
Own = Annotated[Path | None, typer.Option("--devices", help="A TOML table with devices of your own.")]


@command(app, examples=["roofline devices", "roofline devices --name H100 --json"])
def devices(
    name: Annotated[str, typer.Option(help="Only this device.")] = "",
    own: Own = None,
) -> Report:
    """Data-sheet ceilings: dense peaks, bandwidth, ridge points, and the source of each number."""
    from roofline.hardware import device as find
    from roofline.hardware import devices as table

    found = [find(name, table=own)] if name else list(table(own).values())
    columns = ["device", "bf16/fp16 TFLOP/s", "fp8", "fp32", "GB/s", "ridge", "memory GB", "unverified"]
    rows = []
    for entry in found:
        peaks = entry.peaks_flop_per_s
        half = next((dtype for dtype in ("bf16", "fp16") if dtype in peaks), "")
        rows.append(
            [
                entry.name,
                *(peaks[key] / 1e12 if key in peaks else None for key in (half, "fp8", "fp32")),
                entry.bandwidth_bytes_per_s / 1e9,
                entry.ridge_flop_per_byte(half) if half else None,
                entry.memory_bytes / 1e9 if entry.memory_bytes else None,
                ", ".join(entry.unverified),
            ]
        )
    fields: dict[str, object] = {"devices": [entry.to_dict() for entry in found]}
    notes = []
    if name:  # the keys that `measure` answers, so that either can be read by the same program
        ceilings = ("peaks_flop_per_s", "bandwidth_bytes_per_s", "ridge_flop_per_byte")
        fields |= {key: found[0].to_dict()[key] for key in ceilings}
        notes = [*filter(None, [found[0].note]), *(f"{k}: {v}" for k, v in found[0].sources.items())]
    return Report(fields=fields, tables=[Table("Data-sheet ceilings, dense", columns, rows)], notes=notes)


@command(app, examples=["roofline measure", "roofline measure --device cuda --json"])
def measure(
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    seconds: Annotated[float, typer.Option(help="About how long to measure.")] = 6.0,
    seed: Seed = 0,
) -> Report:
    """This machine's ceilings: matrix-product FLOP/s per dtype, bandwidth over a growing working set."""
    from roofline.measurement import measure as run
    from roofline.tables import measurement_report

    with progress("ceilings") as tick:
        found = run(device=device, seconds=seconds, seed=seed, on_progress=tick)
    return measurement_report(found)


@command(
    app,
    examples=[
        "roofline analyze config.json --device A100-80GB --phase decode --batch 8 --sequence 2048",
        "roofline analyze llama-3-8b --device H100 --phase prefill --output roofline.png",
        "roofline analyze opt-30b --device mine --devices devices.toml --dtype fp16 --json",
    ],
)
def analyze(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A config.json, a folder with one, or a name (opt-30b)."),
    ],
    device: Annotated[str, typer.Option(help="One of `roofline devices`, or a .json of `roofline measure`.")],
    batch: Annotated[int, typer.Option(help="Sequences.")] = 1,
    sequence: Annotated[int, typer.Option(help="Positions of each sequence.")] = 2048,
    phase: Annotated[str, typer.Option(help="prefill or decode.")] = "prefill",
    dtype: Annotated[str, typer.Option(help="Of arithmetic and activations.")] = "bf16",
    weight_dtype: Annotated[str, typer.Option(help="Of the stored matrices, if not the same.")] = "",
    kv_dtype: Annotated[str, typer.Option(help="Of the key-value cache, if not the same.")] = "",
    fused: Annotated[bool, typer.Option(help="One product for q, k, v and one for gate, up.")] = False,
    logits: Annotated[str, typer.Option(help="last or all.")] = "last",
    own: Own = None,
) -> Report:
    """Each operator of a forward pass on the roofline: FLOP, bytes, intensity, bound, least time."""
    from roofline.analysis import analyze as run
    from roofline.hardware import device as find
    from roofline.plot import draw_roofline

    found = run(
        model,
        device=find(device, table=own),
        batch=batch,
        sequence=sequence,
        phase=phase,
        dtype=dtype,
        weight_dtype=weight_dtype or None,
        kv_dtype=kv_dtype or None,
        fused=fused,
        logits=logits,
    )
    rows = [
        [
            placed.operator.name,
            placed.operator.count,
            placed.operator.flop / 1e9,
            placed.operator.bytes / 1e6,
            placed.operator.intensity_flop_per_byte,
            placed.bound,
            placed.time_s * 1e3,
        ]
        for placed in found.operators
    ]
    ridge = found.device.ridge_flop_per_byte(found.dtype)
    title = f"{found.phase} on {found.device.name}, ridge {ridge:.4g} FLOP/byte ({found.dtype})"
    columns = ["operator", "count", "GFLOP", "MB", "FLOP/byte", "bound", "ms"]
    total = (
        f"{found.total_time_s * 1e3:.4g} ms at least; {found.flop / 1e12:.4g} TFLOP,"
        f" {found.bytes / 1e9:.4g} GB; weights {found.weight_bytes / 1e9:.4g} GB,"
        f" cache {found.kv_cache_bytes / 1e9:.4g} GB"
    )
    return Report(
        fields=found.to_dict(),
        tables=[Table(title, columns, rows)],
        notes=[total, *found.notes],
        draw=lambda: draw_roofline(found),
    )


main = entry_point(app)
