"""The measured damage of one model, layer by layer, in parts: a run that is cut keeps the parts it finished.

Run: python truth_rows.py MODEL OUTPUT.json [--device cuda] [--name NAME] [--parts 4] [--windows 8]

A part is `--windows` windows of 256 tokens of the text "in-domain", interleaved with those of the others.
`rank_study.py model --truth OUTPUT.json` takes their mean for the damage; what they differ by is its noise.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

CONTEXT = 256
FORMATS = ("int4", "int3", "fp8_e4m3")


def part(model: Any, windows: torch.Tensor, formats: tuple[str, ...]) -> dict[str, Any]:
    """KL, its standard error and the rise of the loss by layer and format, nats per token."""
    from quant_risk_analyzer.formats import format_named
    from quant_risk_analyzer.sites import linear_sites
    from quant_risk_analyzer.truth import measure_windows

    started = time.perf_counter()
    found = measure_windows(
        model,
        windows,
        linear_sites(model),
        kinds=[format_named(name) for name in formats],
        granularity="channel",
    )
    rows: dict[str, dict[str, list[float]]] = {}
    for each in found.layers:
        rows.setdefault(each.name, {})[each.format] = [each.kl, each.kl_stderr, each.loss_increase]
    seconds = time.perf_counter() - started
    return {"tokens": found.tokens, "loss": found.loss, "seconds": seconds, "layers": rows}


def main() -> None:
    """Parse, measure part by part, write after each."""
    from checkpoint_lens import load_model, reference_text
    from quant_risk_analyzer.texts import text_windows

    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("output", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--name")
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--parts", type=int, default=4)
    parser.add_argument("--windows", type=int, default=8)
    options = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    model = load_model(options.model).to(options.device)
    windows = text_windows(
        model, reference_text("in-domain"), windows=options.parts * options.windows, length=CONTEXT + 1
    )
    machine = torch.cuda.get_device_name() if options.device.startswith("cuda") else "CPU"
    result: dict[str, Any] = {
        "model": options.name or Path(options.model).stem,
        "device": machine,
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "context": CONTEXT,
        "parts": [],
    }
    for number in range(options.parts):
        result["parts"].append(
            part(model, windows[number :: options.parts], tuple(options.formats.split(",")))
        )
        options.output.write_text(json.dumps(result) + "\n", encoding="utf-8")
        print(f"part {number}: {result['parts'][-1]['seconds']:.1f} s", flush=True)


if __name__ == "__main__":
    main()
