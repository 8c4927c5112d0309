"""The script that judges every 16-bit input, on a small scale, and what it gave on GPUs."""

import json
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
RESULTS = sorted((BENCHMARKS / "results").glob("exhaustive_*.json"))
pytestmark = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="the scripts are not beside the tests")
SMALL = 2.0**-10
FIRST_TIER = (
    "gelu",
    "gelu_tanh",
    "silu",
    "swiglu",
    "layer_norm",
    "rms_norm",
    "rms_norm_hf",
    "rms_norm_gemma",
)


@pytest.fixture
def exhaustive(monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("flint")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return pytest.importorskip("exhaustive")


def run(exhaustive, name, folder, chunks):
    part = exhaustive.parts(SMALL)[name]
    return exhaustive.run_part(name, part, folder, chunks=chunks, seconds=60)


@pytest.mark.parametrize(
    "name", ["rows-softmax-float16", "rows-layer_norm-bfloat16", "rows-rms_norm_hf-float16"]
)
def test_rows_of_ours_pass_and_a_part_goes_on_where_it_stopped(exhaustive, name, tmp_path):
    first = run(exhaustive, name, tmp_path, 2)
    assert first.passed
    again = run(exhaustive, name, tmp_path, 4)
    assert (first.chunks, again.chunks) == (2, 4)
    assert again.checked > first.checked > 10_000
    merged = exhaustive.merge(tmp_path)
    assert merged["parts"][0]["complete"] is False
    assert any(name in line for line in exhaustive.lines(merged))


def test_a_kernel_that_rounds_twice_is_found(exhaustive, monkeypatch, tmp_path):
    """As torch's kernels do it: float32 inside, then 16 bits."""
    import torch

    def silu_times_up(gate, up):
        return (torch.nn.functional.silu(gate.double()) * up.double()).float().to(gate.dtype)

    monkeypatch.setattr("stable_ops.swiglu", silu_times_up)
    # The gates near 1000: products on ties, just above the truth.
    tally = exhaustive.parts(SMALL)["pairs-float16"].start("pairs")
    exhaustive.check_pairs(torch.float16, 0x63D0, tally, elements=2**16)
    assert tally.near > 0
    assert tally.misrounded > 0
    assert not tally.passed
    monkeypatch.undo()


def test_pairs_of_ours_pass(exhaustive):
    import torch

    for gate in (0x63D0, 0x3C01, 0x0001, 0xFBFF):
        tally = exhaustive.parts(SMALL)["pairs-float16"].start("pairs")
        exhaustive.check_pairs(torch.float16, gate, tally, elements=2**16)
        assert (tally.checked, tally.misrounded, tally.undecided) == (2**16, 0, 0)


def test_the_float64_rounding_is_that_of_the_library(exhaustive):
    import float64_oracle
    import numpy as np
    import torch

    from stable_ops.fp.rounding import round_float64, ulp

    rng = np.random.default_rng(0)
    x = np.ldexp(rng.standard_normal(20_000), rng.integers(-160, 130, 20_000))
    x[:6] = [0.0, -0.0, np.inf, 65520.0, 65519.999, 2.0**-25]
    for dtype, name in ((torch.float16, "fp16"), (torch.bfloat16, "bf16"), (torch.float32, "fp32")):
        from stable_ops.fp import get_format

        got = float64_oracle.nearest(torch.from_numpy(x), dtype).numpy()
        np.testing.assert_array_equal(got, round_float64(x, get_format(name)))
        inside = np.abs(x) < 6e4
        unit = float64_oracle.unit(torch.from_numpy(x[inside]), dtype).numpy()
        np.testing.assert_array_equal(unit, ulp(x[inside], name))


@pytest.mark.skipif(not RESULTS, reason="no results are committed")
@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_what_the_gpus_gave(path):
    results = json.loads(path.read_text(encoding="utf-8"))
    assert results["device"].startswith("NVIDIA")
    parts = {part["part"]: part for part in results["parts"]}
    assert all(part["complete"] for part in parts.values())
    for dtype in ("float16", "bfloat16"):
        assert parts[f"pairs-{dtype}"]["checked"] == 2**32
        for op in FIRST_TIER:
            (part,) = (p for p in parts.values() if (p["op"], p["dtype"]) == (op, dtype))
            assert part["checked"] >= 10**9
            assert (part["misrounded"], part["undecided"]) == (0, 0), part
        for op in ("softmax", "log_softmax", "logsumexp"):
            part = parts[f"rows-{op}-{dtype}"]
            assert part["checked"] >= 10**9
            assert part["max_ulp"] <= 0.501
    for op in ("gelu", "gelu_tanh", "silu"):
        assert parts[f"float32-{op}"]["checked"] == 2**32
        assert parts[f"float32-{op}"]["max_ulp"] <= 2.0
