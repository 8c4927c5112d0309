"""A fit of a device and its stacks from one file of `collect`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from latency_predictor.device_fit import DeviceFit, completed, hardware_of, shipped
from latency_predictor.fitting.host import disturbed
from latency_predictor.fitting.operators import fit_device
from latency_predictor.fitting.samples import Samples, collected
from latency_predictor.fitting.stack import busy, family, fit_stack, held_out, pass_rows, taken
from latency_predictor.fitting.sustained import sustained_share
from latency_predictor.intervals import conformal
from latency_predictor.recipes import RECIPES
from latency_predictor.stacks import PHASES, Stack, find_stack, stacks
from latency_predictor.timing import Hardware
from mfi_command import BadInput, atomic_file
from roofline import Device
from roofline import device as find_device

LEAST_PASSES = 8
LEAST_FAMILIES = 2  # to see how far a family is off that the fit did not see
# A loop without a graph, which a CPU runs, is the same kernels.
_BASE = {"loop": "cuda-graph"}


@dataclass(frozen=True)
class OwnFit:
    """What a file of measurements decided, and how far it is off on model families left out."""

    device: Device
    operators: DeviceFit
    stacks: Mapping[str, Stack]
    intervals: Mapping[str, Mapping[str, Mapping[str, Any]]]
    rows: int
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The content of a fit file."""
        hardware = {
            key: value for key, value in asdict(self.device).items() if key not in ("sources", "unverified")
        }
        return {
            **self.operators.to_dict(),
            "hardware": hardware,
            "stacks": {name: stack.to_dict() for name, stack in self.stacks.items()},
            "intervals": self.intervals,
        }

    def write(self, path: str | Path) -> None:
        """Write the file that `predict(fit=...)` reads, whole or not at all."""
        with atomic_file(path) as beside:
            beside.write_text(json.dumps(self.to_dict()) + "\n", encoding="utf-8")


def read_collected(path: str | Path) -> dict[str, Any]:
    """A file of `collect`; `BadInput` for anything else."""
    file = Path(path)
    if not file.is_file():
        raise BadInput(f"{file}: no such file; `latency-predictor collect {file}` writes one")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        rows = content["rows"]
        if not all(row["latency_s"] > 0 and row["kind"] for row in rows):
            raise ValueError("a row without a positive latency_s")
        _ = content["device"], content["dtype"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{file}: no file of `collect` ({error!r})") from error
    return dict(content)


def fit_own(content: Mapping[str, Any], *, device: str | Path | Device | None = None) -> OwnFit:
    """Fit a device's operators and every stack that has enough passes.

    Parameters
    ----------
    content
        From `read_collected`.
    device
        Its ceilings: a name or file as for `roofline.device`. By default the data sheet of the name in the
        file where the table has it, else what the rows themselves reached.

    Raises
    ------
    BadInput
        Too few rows of an operator, or an unknown device.
    """
    samples = collected(content)
    if not samples.gemms:
        raise BadInput("no products among the rows: collect the part micro first")
    hardware, note = _ceilings(content, samples, device)

    def of(dtype: str) -> Hardware:
        return hardware_of(hardware, dtype)

    made = fit_device(hardware.name, samples, of, sources=(f"{content['device']}, {content.get('date')}",))
    made = replace(made, sustained=sustained_share(content))
    others = [fit for name, fit in shipped().items() if name != hardware.name]
    full = completed(made, others)
    found, intervals, notes = {}, {}, [note] if note else []
    for name in sorted({str(row.get("stack")) for row in content["rows"] if row["kind"] == "pass"}):
        rows = pass_rows(content, name)
        if len(rows) < LEAST_PASSES:
            notes.append(f"stack {name}: {len(rows)} passes, fewer than {LEAST_PASSES}: not fitted")
            continue
        base = replace(stacks().get(name) or find_stack(_BASE.get(name, "cuda-graph")), name=name)
        if name in RECIPES:
            base = replace(base, recipe=name)
        try:
            work = busy(rows, base, full, hardware)
        except BadInput as error:  # rows of an earlier `collect` lack a kernel
            notes.append(f"stack {name}: not fitted: {error}")
            continue
        if base.issue_call_s > 0:
            quiet = ~disturbed(rows, work)
            if not quiet.all():
                notes.append(f"stack {name}: {int((~quiet).sum())} passes beside a slower host left out")
            rows = [row for row, keep in zip(rows, quiet, strict=True) if keep]
            work = taken(work, quiet)
        found[name] = fit_stack(work, base, f"{len(rows)} passes on {content['device']}")
        if len({family(row.model) for row in rows}) < LEAST_FAMILIES:
            notes.append(f"stack {name}: one family of models, the interval that ships stands for it")
            continue
        errors = held_out(rows, work, base, lambda row: family(row.model))
        intervals[name] = {phase: conformal(errors[phase]) for phase in PHASES if errors[phase]}
        if len(intervals[name]) < len(PHASES):
            del intervals[name]
    return OwnFit(hardware, made, found, intervals, len(content["rows"]), tuple(notes))


def _ceilings(
    content: Mapping[str, Any], samples: Samples, device: str | Path | Device | None
) -> tuple[Device, str]:
    if device is not None:
        return find_device(device), ""
    name = str(content["device"]).removeprefix("NVIDIA ")
    for tried in (name, name.split(" ")[0], name.replace(" HBM3", "").replace(" ", "-")):
        try:
            return find_device(tried), ""
        except BadInput:
            continue
    peaks = {
        dtype: float(np.max(2 * rows.m * rows.n * rows.k / rows.seconds))
        for dtype, rows in samples.gemms.items()
    }
    streams = [rows for rows in samples.vectors.values() if (rows.cached == 0).any()]
    if not streams:
        raise BadInput(f"{content['device']} is not in the table; give --device with its ceilings")
    rate = max(float(np.max((rows.moved_bytes / rows.seconds)[rows.cached == 0])) for rows in streams)
    made = Device(name, {**peaks, "bf16": next(iter(peaks.values()))} | peaks, rate)
    return made, f"{name} is not in the table of devices: its ceilings are the best that its rows reached"
