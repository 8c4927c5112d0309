"""How rows are dealt to the blocks of a cluster."""

import random

import pytest

pytest.importorskip("torch")
pytest.importorskip("triton")

from stable_ops.ops.cuda import plans, rows

# Beside rows, weights and biases, a block keeps barriers and sums; the driver keeps 1 KiB.
_KEPT_BYTES = 6 * 1024


def drawn(count):
    """Multiples of 8 of every magnitude, and the borders."""
    generator = random.Random(0)
    lengths = [8 * int(2 ** generator.uniform(3, 17)) for _ in range(count)]
    return [*lengths, 16384, 16392, 32768, 262_136, 262_144]


def chosen(length):
    """The plans of a length, with how many vectors a block keeps."""
    for plan, vectors in (
        (plans.softmax(length), 0),
        (plans.norms(length, centre=False), 1),
        (plans.norms(length, centre=True), 2),
    ):
        if plan is not None:
            yield plan, vectors


def test_blocks_have_all_of_a_row_and_fit():
    found = [(length, plan, vectors) for length in drawn(500) for plan, vectors in chosen(length)]
    assert len(found) > 200
    for length, plan, vectors in found:
        blocks, part = plan.blocks(length), plan.slice(length)
        assert blocks <= 16
        assert part % rows.PER_VECTOR == 0
        assert (blocks - 1) * part < length <= blocks * part
        assert plan.resident * (plan.shared_bytes(length, vectors) + _KEPT_BYTES) <= rows.SHARED_BYTES + 1024
        assert plan.resident * plan.threads * plan.teams <= 2048


@pytest.mark.parametrize("length", [20_001, 20_004, 262_152, 2**20])
def test_other_lengths_are_left(length):
    assert not list(chosen(length))
