"""What the commands print: tables and notes of measurements and analyses."""

from __future__ import annotations

from mfi_command.report import Report, Table
from roofline.measurement import Measurement, Rate
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
