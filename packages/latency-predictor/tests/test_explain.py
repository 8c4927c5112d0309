"""The waterfall adds up to the phase, and is drawn."""

from pathlib import Path

import pytest

from latency_predictor import predict
from latency_predictor.explain import draw_waterfall, waterfall


@pytest.mark.parametrize("stack", ["cuda-graph", "eager", "vllm"])
def test_bars_join_and_add_up(stack: str) -> None:
    answer = predict("llama-3-8b", device="H200", batch=4, prompt=300, output=10, stack=stack)
    for phase in (answer.prefill, answer.decode):
        steps = waterfall(phase.parts)
        place = 0.0
        for step in steps:
            assert step.start_s == pytest.approx(place)
            place += step.time_s
        assert place == pytest.approx(phase.time_s, rel=0.01)
        assert len({step.name for step in steps}) == len(steps)


def test_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figure = draw_waterfall(predict("gpt2", device="L4", output=4))
    figure.savefig(tmp_path / "waterfall.png")
    assert (tmp_path / "waterfall.png").stat().st_size > 10_000
    assert len(figure.axes) == 2
