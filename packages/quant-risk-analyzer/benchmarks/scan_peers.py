"""`scan` beside weightwatcher's full spectra, by turns, processor time on one thread.

Run: python scan_peers.py OUTPUT.json      (CPU, OMP_NUM_THREADS=1; needs weightwatcher in the environment)

Two layers of 2048 x 2048: weightwatcher reads them from a module, `scan` from a bfloat16 file.
"""

from __future__ import annotations

import json
import logging
import platform
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import torch
import weightwatcher
from safetensors.torch import save_file

from quant_risk_analyzer.weights.scan import scan

WIDTH, ROUNDS = 2048, 3


def seconds(compute) -> float:
    start = time.process_time()
    compute()
    return time.process_time() - start


def main() -> None:
    logging.disable(logging.CRITICAL)
    torch.manual_seed(0)
    model = torch.nn.Sequential(*(torch.nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(2)))
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        weights = {f"{at}.weight": layer.weight.detach().bfloat16() for at, layer in enumerate(model)}
        save_file(weights, Path(folder) / "model.safetensors")
        for _ in range(ROUNDS):
            ours = seconds(lambda: scan(folder))
            theirs = seconds(lambda: weightwatcher.WeightWatcher(model=model).analyze())
            rounds.append({"scan_s": ours, "weightwatcher_s": theirs, "ratio": theirs / ours})
    answer = {
        "date": str(date.today()),
        "device": platform.machine(),
        "weightwatcher": weightwatcher.__version__,
        "rounds": rounds,
    }
    Path(sys.argv[1]).write_text(json.dumps(answer, indent=1) + "\n")
    print(json.dumps(answer, indent=1))


if __name__ == "__main__":
    main()
