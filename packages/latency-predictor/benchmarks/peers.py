"""Other people's formulas on our rows."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
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


# GenZ's own names; its Llama-3.1-8B has the shape of Llama-3-8B.
GENZ_MODELS = {
    "opt-1.3b": "facebook/OPT-1.3b",
    "opt-6.7b": "facebook/opt-6.7b",
    "opt-13b": "facebook/OPT-13B",
    "opt-30b": "facebook/opt-30B",
    "llama-2-7b": "meta-llama/Llama-2-7B",
    "llama-2-13b": "meta-llama/Llama-2-13B",
    "llama-3-8b": "meta-llama/meta-llama-3.1-8b",
    "llama-3.2-1b": "meta-llama/Llama-3.2-1B",
    "llama-3.2-3b": "meta-llama/Llama-3.2-3B",
    "mistral-7b": "mistralai/Mistral-7B",
    "qwen2.5-7b": "Qwen/Qwen2.5-7B",
    "qwen2.5-32b": "Qwen/Qwen2.5-32B",
}
MOST_ASKED = 160  # drawn at random: a peer takes seconds a row


@dataclass(frozen=True)
class Peer:
    """A package in an environment of its own: what it is, the script that asks it, its names of models."""

    title: str
    script: str
    models: dict[str, str]


PEERS = {
    # Another stack than ours: its kernels are fused. Its error with the best scalar for it is printed too.
    "aiconfigurator": Peer(
        "aiconfigurator 0.12 (static, vLLM backend, H200)", "ask_aiconfigurator.py", AIC_MODELS
    ),
    "genz": Peer(
        "GenZ 0.0.16 (genz-llm, the H200's data sheet, default efficiency)", "ask_genz.py", GENZ_MODELS
    ),
}


def compare(peer: Peer, python: Path, content: dict, ours, line, heading) -> None:
    """A peer beside ours on the same CUDA-graph rows, as it is and times its best scalar."""
    rows = [row for row in pass_rows(content, "cuda-graph") if row.model in peer.models]
    if len(rows) > MOST_ASKED:
        rows = [rows[i] for i in np.random.default_rng(0).choice(len(rows), MOST_ASKED, replace=False)]
    asked = [
        {"model": peer.models[row.model], "phase": row.phase, "batch": row.batch, "positions": row.positions}
        for row in rows
    ]
    script = Path(__file__).with_name(peer.script)
    done = subprocess.run(
        [str(python), str(script)], input=json.dumps(asked), capture_output=True, text=True, check=True
    )
    answers = json.loads(done.stdout.strip().splitlines()[-1])
    pairs = [(row, ms / 1e3) for row, ms in zip(rows, answers, strict=True) if ms]
    heading(f"{peer.title} on {len(pairs)} of our cuda-graph rows")
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
