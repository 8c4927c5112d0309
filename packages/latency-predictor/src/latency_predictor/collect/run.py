"""`collect`: one call measures a machine, saves after every row, and goes on where it stopped."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from latency_predictor.collect import micro, passes
from mfi_command import BadInput, atomic_file, require

SAVE_EVERY_S = 5.0
PARTS = ("micro", "passes", "sweep")
_RESULT = (
    "latency_s", "low_s", "high_s", "runs", "clock_mhz", "power_w", "host_s", "issue_s", "sequence", "run",
)  # fmt: skip


def collect(
    output: str | Path,
    *,
    device: str = "",
    seconds: float = 600.0,
    models: tuple[str, ...] = (),
    stacks: tuple[str, ...] = (),
    parts: tuple[str, ...] = PARTS,
    dtype: str = "",
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Measure operators and whole passes on this machine into the JSON file `output`.

    Parameters
    ----------
    output
        Written after every few rows; if it is there, what it holds is not measured again.
    device
        "cuda" or "cpu"; by default the GPU where there is one.
    seconds
        Stop after about so long; a later call goes on.
    models, stacks, parts
        Names of `roofline.known_models()`, of `passes.STACKS`, of `PARTS`; all by default.
    dtype
        "bf16", "fp16" or "fp32"; by default bf16 on a GPU and fp32 on a CPU.
    seed
        Of the order.
    on_progress
        Called with (done, planned).

    Returns
    -------
    dict
        What the file holds: where, when, with what, and `rows`.

    Raises
    ------
    BadInput
        An unknown device, part, stack or dtype, no torch, or a file of another device.
    """
    torch: Any = require("torch", extra="collect", distribution="latency-predictor")
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = dtype or ("bf16" if kind == "cuda" else "fp32")
    chosen = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}.get(dtype)
    known = {
        "device": ("cuda", "cpu"),
        "stack": tuple(dict.fromkeys((*passes.STACKS.get(kind, ()), "compiled"))),
        "part": PARTS,
    }
    given = {"device": (kind,), "stack": stacks, "part": parts}
    for name, values in given.items():
        for value in values:
            if value not in known[name]:
                raise BadInput(f"{name} is {value!r}, expected one of {', '.join(known[name])}")
    if chosen is None:
        raise BadInput(f"dtype is {dtype!r}, expected bf16, fp16 or fp32")
    if kind == "cuda" and not torch.cuda.is_available():
        raise BadInput("device is cuda, and torch sees no GPU here; give --device cpu")
    if kind == "cuda":
        # cuDNN plans attention anew for every length of the cache, tens of milliseconds a step.
        torch.backends.cuda.enable_cudnn_sdp(False)
    file = Path(output)
    held = _begin(file, about(torch, kind, dtype))
    wanted = micro.plan(kind, seed=seed) if "micro" in parts else []
    if "passes" in parts:
        wanted += passes.plan(kind, models or passes.MODELS[kind], stacks or passes.STACKS[kind], seed=seed)
    if "sweep" in parts:
        wanted += passes.sweep(kind, seed=seed)
    _measure(held, wanted, kind, chosen, file, time.monotonic() + seconds, on_progress)
    return held


def about(torch: Any, kind: str, dtype: str) -> dict[str, Any]:
    """Where and with what a file was measured."""
    name = torch.cuda.get_device_name() if kind == "cuda" else platform.processor() or platform.machine()
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    if kind == "cuda":
        versions |= {"CUDA": torch.version.cuda}
    try:
        from importlib.metadata import version

        versions |= {"transformers": version("transformers")}
    except ImportError:
        pass
    return {
        "device": name,
        "kind": kind,
        "dtype": dtype,
        "date": datetime.now(UTC).date().isoformat(),
        "command": "latency-predictor collect",
        "versions": versions,
        "threads": torch.get_num_threads(),
        "attention": "scaled_dot_product_attention, cuDNN backend off",
        "rows": [],
        "failed": [],
    }


def _begin(file: Path, fresh: dict[str, Any]) -> dict[str, Any]:
    if not file.is_file():
        if not file.parent.is_dir():  # said before minutes of measuring, not after
            raise BadInput(f"{file}: there is no directory {file.parent}; make it first")
        return fresh
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
        rows, device = held["rows"], held["device"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{file}: no file of collect ({error}); give another --output") from error
    if not isinstance(rows, list) or (device, held.get("dtype")) != (fresh["device"], fresh["dtype"]):
        raise BadInput(
            f"{file}: rows of {device} in {held.get('dtype')}, and this is {fresh['device']} in"
            f" {fresh['dtype']}; give another --output"
        )
    return dict(held)


def save(file: Path, held: Mapping[str, Any]) -> None:
    """Write the file, a row a line, whole or not at all."""
    lines = {key: value for key, value in held.items() if key != "rows"}
    head = json.dumps(lines, indent=1)[:-2]
    rows = ",\n".join("  " + json.dumps(row) for row in held["rows"])
    with atomic_file(file) as beside:
        beside.write_text(f'{head},\n "rows": [\n{rows}\n ]\n}}\n', encoding="utf-8")


def key_of(row: Mapping[str, Any]) -> str:
    """What was measured, without the result."""
    return json.dumps({name: value for name, value in sorted(row.items()) if name not in _RESULT})


def _measure(
    held: dict[str, Any],
    wanted: list[dict[str, Any]],
    kind: str,
    dtype: Any,
    file: Path,
    stop: float,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    done = {key_of(row) for row in held["rows"]}
    bench: Any = None
    saved = time.monotonic()
    models = passes.Passes(kind, dtype)
    for number, entry in enumerate(wanted):
        if time.monotonic() > stop:
            break
        if on_progress is not None:
            on_progress(number, len(wanted))
        if key_of(entry) in done:
            continue
        try:
            if entry["kind"] == "pass":
                bench = None  # its pool goes before a model comes
                if not models.fits(entry):
                    continue
                timing = models.measure(entry)
            else:
                bench = bench or micro.Bench(kind, dtype)
                timing = bench.measure(entry)
        except Exception as error:
            held["failed"].append({**entry, "error": str(error).partition("\n")[0][:160]})
            models.release()
            continue
        order = len(held["rows"])
        held["rows"].append({**entry, **timing.to_dict(), **_state(kind), "sequence": order})
        if time.monotonic() - saved > SAVE_EVERY_S:
            save(file, held)
            saved = time.monotonic()
    models.release()
    save(file, held)


def _state(kind: str) -> dict[str, Any]:
    """Clock and power just after a measurement, where the driver tells."""
    if kind != "cuda":
        return {}
    import torch

    try:
        return {"clock_mhz": torch.cuda.clock_rate(), "power_w": torch.cuda.power_draw() / 1e3}
    except Exception:
        return {}
