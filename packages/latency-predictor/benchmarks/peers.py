"""Other people's formulas on our rows."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from latency_predictor.baseline import held_out_errors, r_squared
from latency_predictor.fitting.stack import PassRow, family, pass_rows


def linear(rows: Sequence[PassRow]) -> tuple[float, np.ndarray]:
    """R^2 of alpha M + beta C + gamma B + delta on its own rows, and its errors with families left out."""
    plain = [
        {"model": row.model, "batch": row.batch, "prompt": row.positions, "latency_s": row.seconds}
        for row in rows
    ]
    return r_squared(plain), held_out_errors(plain, [family(row.model) for row in rows])


# aiconfigurator's own names of models whose configurations it brings.
AIC_MODELS = {
    "llama-3-8b": "meta-llama/Meta-Llama-3.1-8B",
    "qwen3-8b": "Qwen/Qwen3-8B",
    "qwen2.5-7b": "Qwen/Qwen2.5-7B",
    "qwen2.5-32b": "Qwen/Qwen2.5-32B",
    "llama-2-13b": "meta-llama/Llama-2-13b-hf",
    "llama-2-7b": "meta-llama/Llama-2-7b-hf",
}


def aiconfigurator(python: Path, content: dict, ours, line, heading) -> None:
    """Static prefill and decode of aiconfigurator's vLLM backend on an H200, another stack than ours: its
    kernels are fused. Its error with the best scalar for it is printed too.
    """
    rows = [row for row in pass_rows(content, "cuda-graph") if row.model in AIC_MODELS]
    asked = [
        {"model": AIC_MODELS[row.model], "phase": row.phase, "batch": row.batch, "positions": row.positions}
        for row in rows
    ]
    script = Path(__file__).with_name("ask_aiconfigurator.py")
    done = subprocess.run(
        [str(python), str(script)], input=json.dumps(asked), capture_output=True, text=True, check=True
    )
    answers = json.loads(done.stdout.strip().splitlines()[-1])
    pairs = [(row, ms / 1e3) for row, ms in zip(rows, answers, strict=True) if ms]
    heading(f"aiconfigurator (vLLM backend, H200) on {len(pairs)} of our cuda-graph rows")
    if not pairs:
        print("  it answered none")
        return
    measured = np.array([row.seconds for row, _ in pairs])
    found = np.array([seconds for _, seconds in pairs])
    answered = {row for row, _ in pairs}
    for phase in ("prefill", "decode"):
        mine = ours.where(lambda row, phase=phase: row in answered and row.phase == phase)
        line(f"  ours, families left out, {phase}", mine.errors)
        chosen = np.array([row.phase == phase for row, _ in pairs])
        if chosen.any():
            line(f"  {phase}", np.abs(found / measured - 1)[chosen])
            scalar = np.exp(np.median(np.log(measured / found)[chosen]))
            line(
                f"  {phase}, times its best scalar {scalar:.2f}",
                np.abs(scalar * found / measured - 1)[chosen],
            )
