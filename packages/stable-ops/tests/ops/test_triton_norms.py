"""The Triton kernels of the norms under Triton's interpreter, on the CPU, and how they are launched."""

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs Triton")

TRIAL = Path(__file__).parent / "interpreted_norms.py"


@pytest.mark.usefixtures("more_than_a_wheel")
def test_norms_under_the_interpreter(interpreted):
    assert "cases passed" in interpreted(TRIAL)


def test_every_length_has_a_launch():
    from stable_ops.ops.triton import exchange
    from stable_ops.ops.triton.norm_plan import plan

    lengths = (1, 2, 3, 64, 1000, 1024, 1025, 8192, 32768, 32769, 65537, 2**18, 2**20, 2**24)
    for fours, centre in ((False, False), (False, True), (True, False), (True, True)):
        for length in lengths:
            chosen = plan(length, centre=centre, processors=132, fours=fours)
            assert chosen.rows == 0 or chosen.parts > 1 or chosen.fours or chosen.block >= length
            assert chosen.parts == 1 or chosen.parts <= exchange.MOST_PARTS
            assert (
                chosen.parts == 1 or (chosen.parts - 1) * chosen.block < length <= chosen.parts * chosen.block
            )
            for number in (chosen.block, chosen.warps, chosen.rows or 1):
                assert number & (number - 1) == 0
            assert 1 <= chosen.resident <= 32
            # A row is not shared by more programs than the device holds at once.
            assert plan(length, centre=centre, processors=1, fours=fours).parts == 1


def test_teams_share_the_rows_evenly():
    from stable_ops.ops.triton.norms import _teams

    for count, most in ((1, 33), (33, 33), (34, 33), (1024, 33), (1024, 24), (5, 1), (7, 0)):
        teams = _teams(count, most)
        assert 1 <= teams <= max(1, most)
        assert -(-count // teams) == -(-count // max(1, most))
