"""The softmax kernels under Triton's interpreter, on the CPU, and how they are launched."""

import importlib.util
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs Triton")

TRIAL = Path(__file__).parent / "interpreted_softmax.py"
LENGTHS = (1, 2, 3, 64, 1000, 1024, 1025, 8192, 16385, 32768, 32769, 65537, 2**18, 2**20, 2**22, 2**25)


@pytest.mark.usefixtures("more_than_a_wheel")
def test_softmax_under_the_interpreter(interpreted):
    assert "cases passed" in interpreted(TRIAL)


@pytest.mark.parametrize("length", LENGTHS)
def test_every_length_has_a_launch(length):
    from stable_ops.ops.triton.exchange import MOST_PARTS
    from stable_ops.ops.triton.softmax_plan import plan

    for op in range(3):
        for wide in (False, True):
            launch = plan(length, op, wide=wide, processors=132)
            if launch.kind == "whole":
                assert launch.block >= length
            elif launch.kind != "pieces":
                assert 1 < launch.parts <= MOST_PARTS
                assert (launch.parts - 1) * launch.block < length <= launch.parts * launch.block
            for number in (launch.block, launch.warps, launch.rows):
                assert number & (number - 1) == 0
            assert launch.rows * launch.block <= 64 * 32 * launch.warps
            assert launch.warps <= 32
            # All parts of a row have to be on the device at once.
            assert plan(length, op, wide=wide, processors=1).kind in ("whole", "pieces")


@pytest.mark.parametrize("length", LENGTHS)
def test_constants_are_in_the_order_of_the_parameters(length):
    """A kernel that is started again gets them by position."""
    from stable_ops.ops.triton import softmax

    for op in range(3):
        for dtype in (torch.float16, torch.bfloat16, torch.float32):
            chosen = softmax.plan(length, op, wide=dtype == torch.float32, processors=132)
            kernel, constants = softmax._kernel(chosen, length, op, dtype)
            assert kernel.arg_names[-len(constants) :] == list(constants)
