"""The Triton kernels under Triton's interpreter, on the CPU: their logic, not their bits or speed.

The interpreter rounds float32 to bfloat16 its own way and fuses no multiply-add, so what is judged here are
float16 and float32; the GPU tests judge the bits.
"""

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs Triton")

TRIAL = Path(__file__).parent / "interpreted_kernels.py"


def test_kernels_under_the_interpreter(interpreted):
    assert "cases passed" in interpreted(TRIAL)


def test_each_operator_has_a_tier():
    from stable_ops.ops.triton.tiers import LIMIT_ULP, tier
    from stable_ops.testing.oracles import ORACLES

    for op, oracle in ORACLES.items():
        assert {tier(oracle.operator or op, dtype) for dtype in ("float16", "bfloat16", "float32")} <= set(
            LIMIT_ULP
        )
