"""A little of benchmarks/exhaustive.py, whose whole run the committed results hold."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton")
pytest.importorskip("flint")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PARTS = [
    f"{kind}-{dtype}"
    for dtype in ("float16", "bfloat16")
    for kind in ("pairs", "codes-gelu", "codes-gelu_tanh", "codes-silu", "rows-softmax", "rows-log_softmax")
] + [
    f"rows-{op}-{dtype}"
    for dtype in ("float16", "bfloat16")
    for op in ("logsumexp", "layer_norm", "rms_norm", "rms_norm_hf", "rms_norm_gemma")
]


@pytest.mark.parametrize("name", PARTS)
def test_the_first_chunks_pass(name, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    exhaustive = pytest.importorskip("exhaustive")
    part = exhaustive.parts()[name]
    tally = exhaustive.run_part(name, part, tmp_path, chunks=4, seconds=20)
    print(tally)
    assert tally.passed, tally
    assert tally.checked > 10**6
