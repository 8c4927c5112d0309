"""The measured damage of one model, layer by layer, in parts: a run that is cut keeps the parts it finished.

Run: python truth_rows.py MODEL OUTPUT.json [--device cuda] [--name NAME] [--parts 8] [--windows 4]
                          [--workers N]      (processes of one thread, on a CPU)

A part is `--windows` windows of 256 tokens of the text "in-domain", interleaved with those of the others; a
second call goes on. `rank_study.py model --truth OUTPUT.json` takes their mean for the damage; what they
differ by is its noise.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from pathlib import Path
from typing import Any

import torch

CONTEXT = 256
FORMATS = ("int4", "int3", "fp8_e4m3")


def loaded(path: str, device: str, parts: int, windows: int) -> tuple[Any, torch.Tensor]:
    """The model and the windows of all parts."""
    from checkpoint_lens import load_model, reference_text
    from quant_risk_analyzer.texts import text_windows

    torch.backends.cuda.matmul.allow_tf32 = False
    model = load_model(path).to(device)
    text = reference_text("in-domain")
    return model, text_windows(model, text, windows=parts * windows, length=CONTEXT + 1)


def part(model: Any, windows: torch.Tensor, share: slice) -> dict[str, Any]:
    """KL, its standard error and the rise of the loss of some layers, nats per token, by layer and format."""
    from quant_risk_analyzer.formats import format_named
    from quant_risk_analyzer.sites import linear_sites
    from quant_risk_analyzer.truth import measure_windows

    found = measure_windows(
        model,
        windows,
        dict(list(linear_sites(model).items())[share]),
        kinds=[format_named(name) for name in FORMATS],
        granularity="channel",
    )
    rows: dict[str, dict[str, list[float]]] = {}
    for each in found.layers:
        rows.setdefault(each.name, {})[each.format] = [each.kl, each.kl_stderr, each.loss_increase]
    return {"tokens": found.tokens, "loss": found.loss, "layers": rows}


def share_of(path: str, parts: int, windows: int, number: int, share: slice) -> dict[str, Any]:
    """`part` in a process of its own."""
    torch.set_num_threads(1)
    model, every = loaded(path, "cpu", parts, windows)
    return part(model, every[number::parts], share)


def joined(shares: list[dict[str, Any]]) -> dict[str, Any]:
    """The shares of several processes as one part."""
    return {**shares[0], "layers": {name: row for each in shares for name, row in each["layers"].items()}}


def main() -> None:
    """Parse, measure part by part, write after each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("output", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--name")
    for name, value in {"parts": 8, "windows": 4, "workers": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    machine = torch.cuda.get_device_name() if options.device.startswith("cuda") else "CPU"
    result: dict[str, Any] = {
        "model": options.name or Path(options.model).stem,
        "device": machine,
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "context": CONTEXT,
        "parts": [],
    }
    if options.output.exists():
        known = json.loads(options.output.read_text(encoding="utf-8"))
        result |= {"parts": known["parts"]}
        result["device"] = " and ".join(dict.fromkeys((known["device"], machine)))
    work = (options.model, options.parts, options.windows)
    model, windows = loaded(options.model, options.device, *work[1:])
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
        for number in range(len(result["parts"]), options.parts):
            started = time.perf_counter()
            if options.workers > 1:
                slices = [slice(start, None, options.workers) for start in range(options.workers)]
                found = joined(pool.starmap(share_of, [(*work, number, each) for each in slices]))
            else:
                found = part(model, windows[number :: options.parts], slice(None))
            found["seconds"] = time.perf_counter() - started
            result["parts"].append(found)
            options.output.write_text(json.dumps(result) + "\n", encoding="utf-8")
            print(f"part {number}: {found['seconds']:.1f} s", flush=True)


if __name__ == "__main__":
    main()
