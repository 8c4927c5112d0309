"""The command `roofline`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mfi_command.cli import Report, Seed, command, create_app, entry_point, progress

if TYPE_CHECKING:
    from roofline.analysis import Analysis
    from roofline.hardware import Device
    from roofline.kernels import KernelAnalysis

app = create_app(
    "roofline",
    distribution="roofline",
    summary="What limits a model on this hardware: its ceilings, its operators.",
)
Own = Annotated[Path | None, typer.Option("--devices", help="A TOML table with devices of your own.")]
DeviceName = Annotated[
    str, typer.Option("--device", help="One of `roofline devices`, or a .json of `roofline measure`.")
]
Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="A config.json, a folder with one, a name (opt-30b), or FILE.py:FUNCTION."
    ),
]
Batch = Annotated[int, typer.Option(help="Sequences.")]
Sequence = Annotated[int, typer.Option(help="Positions of each sequence.")]
Phase = Annotated[str, typer.Option(help="prefill or decode.")]
Dtype = Annotated[str, typer.Option(help="Of arithmetic and activations.")]
WeightDtype = Annotated[str, typer.Option(help="Of the stored matrices, if not the same.")]
KvDtype = Annotated[str, typer.Option(help="Of the key-value cache, if not the same.")]
Ways = Annotated[int, typer.Option(help="Devices that share each layer (tensor parallelism).")]
Link = Annotated[float | None, typer.Option(help="GB/s out of one device to the others, for collectives.")]
Launch = Annotated[float | None, typer.Option(help="Least microseconds of a kernel.")]
Page = Annotated[Path | None, typer.Option("--chart", help="Write an interactive chart, an .html page.")]


@command(app, examples=["roofline devices", "roofline devices --name H100 --json"])
def devices(
    name: Annotated[str, typer.Option(help="Only this device.")] = "",
    own: Own = None,
) -> Report:
    """Data-sheet ceilings: dense peaks, bandwidth, ridge points, and the source of each number."""
    from roofline.hardware import device as find
    from roofline.hardware import devices as table
    from roofline.tables import devices_report

    found = [find(name, table=own)] if name else list(table(own).values())
    return devices_report(found, one=bool(name))


@command(
    app,
    examples=[
        "roofline measure",
        "roofline measure --output ceilings.json",
        "roofline measure --device cuda --output levels.png",
    ],
)
def measure(
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    seconds: Annotated[float, typer.Option(help="About how long to measure.")] = 6.0,
    seed: Seed = 0,
) -> Report:
    """This machine's ceilings: FLOP/s per dtype, bandwidth of each level over a growing working set."""
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
        "roofline analyze opt-30b --device mine --devices devices.toml --dtype fp16 --chart opt.html",
        "roofline analyze llama-3-70b --device H100 --phase decode --tensor-parallel 8 --link-gb-per-s 450",
        "roofline analyze layer.py:case --device H100",
    ],
)
def analyze(
    model: Model,
    device: DeviceName,
    batch: Batch = 1,
    sequence: Sequence = 2048,
    phase: Phase = "prefill",
    dtype: Dtype = "bf16",
    weight_dtype: WeightDtype = "",
    kv_dtype: KvDtype = "",
    fused: Annotated[bool, typer.Option(help="One product for q, k, v and one for gate, up.")] = False,
    logits: Annotated[str, typer.Option(help="last or all.")] = "last",
    tensor_parallel: Ways = 1,
    link_gb_per_s: Link = None,
    launch_us: Launch = None,
    traced: Annotated[
        bool, typer.Option("--traced", help="Count the code of transformers instead of our formulas.")
    ] = False,
    by: Annotated[str, typer.Option(help="module or operator, of what is traced.")] = "module",
    own: Own = None,
    chart: Page = None,
) -> Report:
    """Each operator of a forward pass on the roofline: FLOP, bytes, intensity, bound, least time."""
    from roofline.tables import analysis_report

    hardware = _device(device, own, link_gb_per_s, launch_us)
    sizes: dict[str, Any] = {"batch": batch, "sequence": sequence, "phase": phase, "dtype": dtype}
    options = sizes | {
        "weight_dtype": weight_dtype or None,
        "kv_dtype": kv_dtype or None,
        "fused": fused,
        "logits": logits,
        "tensor_parallel": tensor_parallel,
    }
    return _charted(analysis_report, _analysis(model, hardware, sizes, options, traced=traced, by=by), chart)


def _analysis(
    model: str, hardware: Device, sizes: dict[str, Any], options: dict[str, Any], *, traced: bool, by: str
) -> Analysis | KernelAnalysis:
    from roofline.analysis import analyze as run
    from roofline.hf import analyze_config
    from roofline.kernels import analyze_torch
    from roofline.named import is_named, named_function
    from roofline.shapes import has_formulas

    named = is_named(model)
    if named or traced or not has_formulas(model):
        _refuse_formulas_options(options)
    if named:
        function, arguments = named_function(model)
        return analyze_torch(function, *arguments, device=hardware, dtype=sizes["dtype"], by=by)
    if traced or not has_formulas(model):
        return analyze_config(model, device=hardware, by=by, **sizes)
    return run(model, device=hardware, **options)


def _refuse_formulas_options(options: dict[str, Any]) -> None:
    """What only our formulas can count must not be dropped in silence."""
    from mfi_command import BadInput

    plain = {"weight_dtype": None, "kv_dtype": None, "fused": False, "logits": "last", "tensor_parallel": 1}
    given = [f"--{key.replace('_', '-')}" for key, value in plain.items() if options[key] != value]
    if given:
        raise BadInput(f"{', '.join(given)}: code that is traced is counted as it is; leave it out")


def _device(name: str, own: Path | None, link_gb_per_s: float | None, launch_us: float | None) -> Device:
    from roofline.hardware import checked_rate
    from roofline.hardware import device as find

    found = find(name, table=own)
    if link_gb_per_s is not None:
        found = replace(found, link_bytes_per_s=checked_rate("link-gb-per-s", link_gb_per_s) * 1e9)
    if launch_us is not None:
        found = replace(found, launch_s=checked_rate("launch-us", launch_us) * 1e-6)
    return found


def _charted(report: Any, found: Analysis | KernelAnalysis, chart: Path | None) -> Report:
    from roofline.page import write_page

    made: Report = report(found)
    if chart is not None:
        write_page(chart, found)
    return made


@command(
    app,
    examples=[
        "roofline kernels table.csv --device H100",
        "roofline kernels ncu.csv --device H100 --chart kernels.html",
        "roofline kernels trace.json.gz --device ceilings.json --output kernels.png",
    ],
)
def kernels(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A table, the CSV of ncu, or a trace of torch's profiler.")
    ],
    device: DeviceName,
    dtype: Annotated[str, typer.Option(help="Of kernels whose source does not say.")] = "bf16",
    launch_us: Launch = None,
    own: Own = None,
    chart: Page = None,
) -> Report:
    """Measured kernels on the roofline: what share of it each one reaches, and what binds it."""
    from roofline.kernels import analyze_kernels
    from roofline.tables import analysis_report

    found = analyze_kernels(file, device=_device(device, own, None, launch_us), dtype=dtype)
    return _charted(analysis_report, found, chart)


@command(
    app,
    name="what-if",
    examples=[
        "roofline what-if llama-3-8b --device H100 --phase decode --change bandwidth=2 --change weights=int4",
        "roofline what-if opt-30b --device A100-80GB --dtype fp16 --change fuse=up_proj+activation",
    ],
)
def what_if(
    model: Model,
    device: DeviceName,
    change: Annotated[
        list[str],
        typer.Option(
            help="bandwidth=2, peak=2, launch=0.5, dtype=fp8, weights=int4, kv=fp8, batch=8, fuse=A+B."
        ),
    ],
    batch: Batch = 1,
    sequence: Sequence = 2048,
    phase: Phase = "prefill",
    dtype: Dtype = "bf16",
    launch_us: Launch = None,
    own: Own = None,
) -> Report:
    """What each change would gain, and all of them together."""
    from roofline.changes import what_if as run
    from roofline.tables import what_if_report

    hardware = _device(device, own, None, launch_us)
    sizes: dict[str, Any] = {"batch": batch, "sequence": sequence, "phase": phase, "dtype": dtype}
    return what_if_report(*run(model, change, device=hardware, **sizes))


@command(
    app,
    examples=["roofline sweep llama-3-8b --device H100 --phase decode --sequence 1024 --weight-dtype fp8"],
)
def sweep(
    model: Model,
    device: DeviceName,
    sequence: Sequence = 2048,
    phase: Phase = "decode",
    dtype: Dtype = "bf16",
    weight_dtype: WeightDtype = "",
    kv_dtype: KvDtype = "",
    own: Own = None,
) -> Report:
    """Batch 1, 2, 4, ... to the ridge, where reading the weights stops being what takes the time."""
    from roofline.changes import batch_sweep
    from roofline.tables import sweep_report

    with progress("batches") as tick:
        found, ridge = batch_sweep(
            model,
            device=_device(device, own, None, None),
            on_progress=tick,
            sequence=sequence,
            phase=phase,
            dtype=dtype,
            weight_dtype=weight_dtype or None,
            kv_dtype=kv_dtype or None,
        )
    return sweep_report(found, ridge)


main = entry_point(app)
