"""What the commands print: tables and notes of measurements and analyses."""

from __future__ import annotations

from collections.abc import Sequence

from mfi_command.report import Report, Table
from roofline.analysis import Analysis
from roofline.changes import Gain, bound_shares
from roofline.hardware import Device
from roofline.kernels import Kernel, KernelAnalysis
from roofline.measurement import Measurement, Rate
from roofline.placing import Placed
from roofline.plot import draw_roofline
from roofline.sparse import sparse_looking
from roofline.sweep_plot import draw_sweep


def measurement_report(found: Measurement) -> Report:
    """Ceilings with their spread, then the sweep; as a figure, the sweep."""
    rows = [
        [f"{dtype} product ({name})", *_scaled(rate, 1e9), "GFLOP/s"]
        for dtype, rates in found.libraries.items()
        for name, rate in rates.items()
    ]
    rows += [
        [f"{dtype} multiply-adds, vector units", *_scaled(rate, 1e9), "GFLOP/s"]
        for dtype, rate in found.vector_peaks.items()
    ]
    streams = found.streams or {found.bandwidth_kernel: found.bandwidth}
    rows += [[f"memory ({name})", *_scaled(rate, 1e9), "GB/s"] for name, rate in streams.items()]
    rows += [[name.replace("_", " "), *_scaled(rate, 1e9), "GB/s"] for name, rate in found.transfers.items()]
    rows += [[f"within {name}", value / 1e9, None, None, "GB/s"] for name, value in found.levels.items()]
    rows += [[f"a launch ({name})", value * 1e6, None, None, "us"] for name, value in found.launch_s.items()]
    kernels = list(dict.fromkeys(key for row in found.sweep for key in row if key != "working_set_bytes"))
    levels = [
        [row["working_set_bytes"] / 2**20, *(row[key] / 1e9 if key in row else None for key in kernels)]
        for row in found.sweep
    ]
    ridges = found.to_dict()["ridge_flop_per_byte"]
    return Report(
        fields=found.to_dict(),
        tables=[
            Table(found.device, ["ceiling", "median", "low (10 %)", "high (90 %)", "unit"], rows),
            Table(
                "GB/s by working set", ["MiB", *(key.removesuffix("_bytes_per_s") for key in kernels)], levels
            ),
        ],
        notes=[
            *(f"ridge {key}: {value:.4g} FLOP/byte" for key, value in ridges.items()),
            *(
                f"{when}: {', '.join(f'{key} {value:g}' for key, value in state.items())}"
                for when, state in found.conditions.items()
                if state
            ),
            *found.notes,
        ],
        draw=lambda: draw_sweep(found),
    )


def _scaled(rate: Rate, unit: float) -> list[float]:
    return [value / unit for value in (rate.median, rate.low, rate.high)]


def devices_report(found: Sequence[Device], *, one: bool) -> Report:
    """The table of data sheets; of one device its sources as well."""
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
    notes = [note for entry in found for note in sparse_looking(entry)]
    if one:  # the keys that `measure` answers, so that either can be read by the same program
        ceilings = ("peaks_flop_per_s", "bandwidth_bytes_per_s", "ridge_flop_per_byte")
        fields |= {key: found[0].to_dict()[key] for key in ceilings}
        notes += [*filter(None, [found[0].note]), *(f"{k}: {v}" for k, v in found[0].sources.items())]
    return Report(fields=fields, tables=[Table("Data-sheet ceilings, dense", columns, rows)], notes=notes)


def analysis_report(found: Analysis | KernelAnalysis) -> Report:
    """Each operator with its place; what was measured where something was."""
    ridge = found.device.ridge_flop_per_byte(found.dtype)
    where = f"on {found.device.name}, ridge {ridge:.4g} FLOP/byte ({found.dtype})"
    floor = f"{found.total_time_s * 1e3:.4g} ms at least; {found.flop / 1e12:.4g} TFLOP,"
    floor += f" {found.bytes / 1e9:.4g} GB ({found.unfused_bytes / 1e9:.4g} GB step by step)"
    if isinstance(found, KernelAnalysis):
        return Report(
            fields=found.to_dict(),
            tables=[_kernels(f"Kernels {where}", found)],
            notes=[floor, *found.notes],
            draw=lambda: draw_roofline(found),
        )
    columns = ["operator", "count", "GFLOP", "MB", "MB step by step", "FLOP/byte", "bound", "ms"]
    title = f"{found.phase} {where}"
    if found.tensor_parallel > 1:
        title += f", one of {found.tensor_parallel} devices"
    memory = f"weights {found.weight_bytes / 1e9:.4g} GB, cache {found.kv_cache_bytes / 1e9:.4g} GB"
    return Report(
        fields=found.to_dict(),
        tables=[Table(title, columns, [_operator(placed) for placed in found.operators])],
        notes=[f"{floor}; {memory}", *found.notes],
        draw=lambda: draw_roofline(found),
    )


def _operator(placed: Placed) -> list[object]:
    one = placed.operator
    return [
        one.name,
        one.count,
        one.flop / 1e9,
        one.bytes / 1e6,
        one.unfused_bytes / 1e6,
        one.intensity_flop_per_byte,
        placed.bound,
        placed.time_s * 1e3,
    ]


def _kernels(title: str, found: KernelAnalysis) -> Table:
    pairs = list(zip(found.kernels, found.placed, strict=True))
    columns = ["kernel", "count", "GFLOP", "MB", "MB step by step", "FLOP/byte", "bound", "ms"]
    rows = [_operator(placed) for _, placed in pairs]
    if any(kernel.measured_s for kernel, _ in pairs):
        columns += ["measured ms", "of the roof"]
        rows = [row + _measured(kernel, placed) for row, (kernel, placed) in zip(rows, pairs, strict=True)]
    if any(kernel.utilisation for kernel, _ in pairs):
        columns.append("busiest by counters")
        rows = [[*row, kernel.measured_bound] for row, (kernel, _) in zip(rows, pairs, strict=True)]
    return Table(title, columns, rows)


def _measured(kernel: Kernel, placed: Placed) -> list[object]:
    if not kernel.measured_s:
        return [None, None]
    return [kernel.measured_s * 1e3, placed.time_s / kernel.measured_s]


def what_if_report(before: Analysis, gains: Sequence[Gain]) -> Report:
    """One row a change, the unchanged pass first."""
    columns = ["change", "ms", "speed-up", "per sequence", "GB", "bound by", "fits"]
    rows: list[list[object]] = [["none", before.total_time_s * 1e3, 1.0, 1.0, *_state(before)]]
    rows += [
        [
            gain.change,
            gain.analysis.total_time_s * 1e3,
            gain.speed_up,
            gain.per_sequence_speed_up,
            *_state(gain.analysis),
        ]
        for gain in gains
    ]
    title = f"{before.phase} on {before.device.name}, batch {before.batch}, sequence {before.sequence}"
    fields = {"before": before.to_dict(), "changes": [gain.to_dict() for gain in gains]}
    return Report(fields=fields, tables=[Table(title, columns, rows)])


def _state(analysis: Analysis) -> list[object]:
    shares = sorted(bound_shares(analysis).items(), key=lambda pair: -pair[1])
    return [analysis.bytes / 1e9, ", ".join(f"{name} {share:.0%}" for name, share in shares), analysis.fits]


def sweep_report(found: Sequence[Analysis], ridge: int | None) -> Report:
    """One row a batch, and where the products of weights stop being bound by memory."""
    columns = ["batch", "ms", "tokens/s", "GB", "bound by", "fits"]
    rows = []
    for one in found:
        tokens = one.batch * (one.sequence if one.phase == "prefill" else 1)
        rows.append([one.batch, one.total_time_s * 1e3, tokens / one.total_time_s, *_state(one)])
    words = "no batch here" if ridge is None else f"batch {ridge}"
    first = found[0]
    return Report(
        fields={"ridge_batch": ridge, "points": [{"batch": one.batch} | one.to_dict() for one in found]},
        tables=[Table(f"{first.phase} on {first.device.name}, sequence {first.sequence}", columns, rows)],
        notes=[f"from {words} on, no product of weights is bound by memory"],
    )
