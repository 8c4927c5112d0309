"""The figure: points where they belong, and labels that meet neither each other nor a dot."""

import itertools
from dataclasses import replace

import pytest

from roofline import Kernel, Operator, analyze, analyze_kernels, device, draw_roofline
from roofline.chart import merged

pytest.importorskip("matplotlib")
CASES = [
    ("llama-3-8b", "H100", "prefill", "bf16"),
    ("opt-30b", "A100", "decode", "fp16"),
    ("gpt2", "A100", "prefill", "fp16"),
    ("qwen3-8b", "L4", "decode", "bf16"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(case))
def test_labels_keep_clear(case: tuple[str, str, str, str]) -> None:
    from matplotlib.text import Text

    model, name, phase, dtype = case
    analysis = analyze(model, device=name, phase=phase, dtype=dtype, batch=4)
    figure = draw_roofline(analysis)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    boxes = [(text.get_text(), Text.get_window_extent(text)) for text in axes.texts]
    assert len(boxes) >= len(merged(analysis.operators)) + 2
    for (one, first), (other, second) in itertools.combinations(boxes, 2):
        assert not first.overlaps(second), f"{one} over {other}"
    frame = axes.get_window_extent()
    for label, box in boxes:
        assert frame.x0 <= box.x0 <= box.x1 <= frame.x1 + 1, label


def test_labels_of_measured_kernels_and_levels_keep_clear() -> None:
    from matplotlib.text import Text

    hierarchical = replace(device("H200"), levels_bytes_per_s={"l2": 8e12, "l1": 3e13})
    kernels = [
        Kernel(Operator(f"kernel {step}", "matmul", 1, 10**9 << step, 10**8), "bf16", 1e-3)
        for step in range(12)
    ]
    figure = draw_roofline(analyze_kernels(kernels, device=hierarchical))
    figure.draw_without_rendering()
    boxes = [(text.get_text(), Text.get_window_extent(text)) for text in figure.axes[0].texts]
    assert len(boxes) == 12 + 4
    for (one, first), (other, second) in itertools.combinations(boxes, 2):
        assert not first.overlaps(second), f"{one} over {other}"
