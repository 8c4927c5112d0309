"""Kernels with their counters from the CSV of Nsight Compute (`ncu --csv --page raw`)."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence

from mfi_command import BadInput
from roofline.kernels import Kernel
from roofline.operators import Operator

TIME = "gpu__time_duration.sum"
READ, WRITTEN = "dram__bytes_read.sum", "dram__bytes_write.sum"
LEVELS = {"l2": "lts__t_bytes.sum", "l1": "l1tex__t_bytes.sum"}
COMPUTE = "sm__throughput.avg.pct_of_peak_sustained_elapsed"
MEMORY = "gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed"
# What ncu is asked for, so that `roofline import` finds what it needs.
METRICS = (TIME, READ, WRITTEN, *LEVELS.values(), COMPUTE, MEMORY)
_TENSOR = "sm__ops_path_tensor_"
_VECTOR = {"ffma": 2, "fadd": 1, "fmul": 1, "dfma": 2, "dadd": 1, "dmul": 1, "hfma": 2, "hadd": 1, "hmul": 1}
_UNITS = {
    "byte": 1.0,
    "Kbyte": 1e3,
    "Mbyte": 1e6,
    "Gbyte": 1e9,
    "Tbyte": 1e12,
    "ns": 1e-9,
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "nsecond": 1e-9,
    "usecond": 1e-6,
    "msecond": 1e-3,
    "second": 1.0,
    "%": 0.01,
}


def is_ncu(text: str) -> bool:
    """Whether this looks like ncu's CSV: its header, after lines that begin with ==."""
    return any(line.startswith('"ID"') and "Kernel Name" in line for line in text.splitlines()[:2000])


def read_ncu(text: str, *, where: str, dtype: str) -> tuple[Kernel, ...]:
    """One `Kernel` a launch, in order.

    Bytes are those of DRAM, read and written. FLOP are those of the tensor units and of fp32, fp64 and fp16
    instructions as far as the export has them. The names of the metrics are in `METRICS`.

    Raises
    ------
    BadInput
        The export lacks the duration or the bytes, or holds no kernel.
    """
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith('"ID"'))
    table = list(csv.reader(lines[start:]))
    header = table[0]
    if "Metric Name" in header:
        raise BadInput(f"{where}: is ncu's long form; export it with --page raw")
    missing = [name for name in (TIME, READ, WRITTEN) if name not in header]
    if missing:
        raise BadInput(f"{where}: lacks {', '.join(missing)}; run ncu with --metrics {','.join(METRICS)}")
    if len(table) < 3:
        raise BadInput(f"{where}: holds no kernel")
    units = dict(zip(header, table[1], strict=False))
    rows = [dict(zip(header, row, strict=False)) for row in table[2:] if len(row) == len(header)]
    return tuple(_kernel(row, units, where, dtype) for row in rows)


def _kernel(row: Mapping[str, str], units: Mapping[str, str], where: str, dtype: str) -> Kernel:
    def value(name: str) -> float | None:
        text = row.get(name, "").replace(",", "")
        try:
            return float(text) * _UNITS.get(units.get(name, ""), 1.0) if text else None
        except ValueError as error:
            raise BadInput(f"{where}: {name} is {row[name]!r}, expected a number") from error

    flop, tensor = _flop(row, value)
    moved = round((value(READ) or 0) + (value(WRITTEN) or 0))
    busy = [("compute", value(COMPUTE)), ("memory", value(MEMORY))]
    return Kernel(
        Operator(row["Kernel Name"], "matmul" if tensor else "vector", 1, round(flop), moved),
        dtype,
        value(TIME),
        tuple((level, round(size)) for level, name in LEVELS.items() if (size := value(name)) is not None),
        tuple((name, share) for name, share in busy if share is not None),
    )


def _flop(row: Mapping[str, str], value: object) -> tuple[float, bool]:
    """FLOP by instruction counters, and whether the tensor units took part."""
    number = value if callable(value) else float
    tensor = sum(number(name) or 0 for name in row if name.startswith(_TENSOR) and name.endswith(".sum"))
    vector = sum(
        weight * (number(name) or 0)
        for instruction, weight in _VECTOR.items()
        if (name := f"sm__sass_thread_inst_executed_op_{instruction}_pred_on.sum") in row
    )
    return tensor + vector, tensor > 0


def between_markers(kernels: Sequence[Kernel], marker: str) -> list[list[Kernel]]:
    """Kernels in groups: each group stands between two kernels whose name holds `marker`."""
    groups: list[list[Kernel]] = []
    inside = False
    for kernel in kernels:
        if marker in kernel.operator.name:
            inside = not inside
            groups += [[]] if inside else []
        elif inside:
            groups[-1].append(kernel)
    return groups
