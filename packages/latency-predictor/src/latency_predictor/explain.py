"""Where the milliseconds of a prediction go, as a waterfall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from latency_predictor.answer import Part, Prediction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Operators of one kind belong together: a reader asks for attention, not for the third of five norms.
_GROUPS = {
    "q_proj": "attention projections", "k_proj": "attention projections", "v_proj": "attention projections",
    "qkv_proj": "attention projections", "o_proj": "attention projections",
    "gate_proj": "MLP projections", "up_proj": "MLP projections", "gate_up_proj": "MLP projections",
    "down_proj": "MLP projections", "attention": "attention", "attention_window": "attention",
    "norm": "norms", "final_norm": "norms", "q_norm": "norms", "k_norm": "norms",
    "residual_add": "residual additions", "rotary": "rotary positions", "kv_write": "writing the cache",
    "kv_join": "copying the cache",
    "activation": "activation", "lm_head": "language model head", "embedding": "embeddings",
    "position_embedding": "embeddings", "position_add": "embeddings", "all_reduce": "all-reduce",
    "stack": "stack (host, graph, unfused work)",
}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One bar: its seconds, and where it begins."""

    name: str
    start_s: float
    time_s: float


def waterfall(parts: Sequence[Part]) -> list[Step]:
    """Parts of one phase by group, the longest first, the stack's last; together they are the phase."""
    sums: dict[str, float] = {}
    for part in parts:
        name = _GROUPS.get(part.name, part.name)
        sums[name] = sums.get(name, 0.0) + part.time_s
    stack = sums.pop(_GROUPS["stack"], 0.0)
    ordered = [(name, value) for name, value in sorted(sums.items(), key=lambda one: -one[1]) if value > 0]
    if stack:
        ordered.append((_GROUPS["stack"], stack))
    steps, place = [], 0.0
    for name, value in ordered:
        steps.append(Step(name, place, value))
        place += value
    return steps


def draw_waterfall(prediction: Prediction) -> Figure:
    """Both phases side by side, milliseconds."""
    from mfi_command import require

    figures: Any = require("matplotlib.figure", extra="plot", distribution="latency-predictor")
    figure: Figure = figures.Figure(figsize=(11, 4.6), layout="constrained")
    for place, (title, phase) in enumerate(
        (
            (f"Prefill of {prediction.batch} x {prediction.prompt} tokens", prediction.prefill),
            (f"A decode step at batch {prediction.batch}", prediction.decode),
        ),
        1,
    ):
        axes = figure.add_subplot(1, 2, place)
        steps = waterfall(phase.parts)
        whole = sum(step.time_s for step in steps)
        for row, step in enumerate(steps):
            left, width = step.start_s * 1e3, step.time_s * 1e3
            color = "#b5451b" if step.name == _GROUPS["stack"] else "#0b6e99"
            axes.barh(row, width, left=left, color=color, height=0.7)
            right_half = left + width / 2 > 0.5e3 * whole
            end = min(left, left + width) if right_half else max(left, left + width)
            axes.annotate(
                f"{width:.3g} ms, {step.time_s / whole:.0%}",
                (end, row),
                xytext=(-4 if right_half else 4, 0),
                textcoords="offset points",
                ha="right" if right_half else "left",
                va="center",
                fontsize=8,
            )
        axes.set_yticks(range(len(steps)), [step.name for step in steps])
        axes.invert_yaxis()
        axes.set(xlabel="ms", title=f"{title}: {phase.time_s * 1e3:.4g} ms")
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{prediction.model} on {prediction.device}, {prediction.stack}")
    return figure
