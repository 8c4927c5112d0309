"""The figure: points where they belong, and labels that meet neither each other nor a dot."""

import itertools

import pytest

from roofline import analyze, draw_roofline
from roofline.plot import merged

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


def test_every_operator_with_work_is_on_the_chart_under_the_roof() -> None:
    analysis = analyze("llama-3-8b", device="H100")
    points = merged(analysis.operators)
    drawn = {name for label, *_ in points for name in label.split(", ")}
    assert drawn == {placed.operator.name for placed in analysis.operators if placed.operator.flop}
    for _, intensity, reached, _ in points:
        roof = min(989e12, 3350e9 * intensity)
        assert reached <= roof * (1 + 1e-9)
