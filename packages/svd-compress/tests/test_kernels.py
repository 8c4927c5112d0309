"""The kernels' arithmetic under Triton's interpreter; bits and speed are for a GPU (tests/gpu)."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton")

CODE = """
import torch
from svd_compress.kernels.gemv import Launch, LowRankGemv
from svd_compress.pivoting import pivot, rest

rng = torch.Generator().manual_seed(0)
for m, n, r in [(40, 24, 8), (33, 70, 17), (5, 3, 1), (16, 90, 16)]:
    left, right = torch.randn(m, r, generator=rng), torch.randn(r, n, generator=rng)
    x = torch.randn(n, generator=rng)
    expected = left @ (right @ x)
    for launch in (None, Launch(rows_1=4, block_1=16, rows_2=2, block_2=8)):
        call = LowRankGemv(left, right, launch=launch)
        for _ in range(2):
            torch.testing.assert_close(call(x, torch.full((m,), torch.nan)), expected, atol=1e-4, rtol=1e-4)
        compact = pivot(left, right)
        call = LowRankGemv(
            compact.left.float(), compact.right.float(),
            pivots=compact.pivots.int(), rest=rest(compact.pivots, m).int(), launch=launch,
        )
        torch.testing.assert_close(call(x, torch.full((m,), torch.nan)), expected, atol=1e-3, rtol=1e-3)
from svd_compress.kernels.placing import together

for shape, m, r in [((2, 5), 40, 10), ((7,), 1500, 1499), ((1, 1), 33, 1)]:
    chosen, others = torch.randn(*shape, r, generator=rng), torch.randn(*shape, m - r, generator=rng)
    place = torch.randperm(m, generator=rng)
    assert torch.equal(together(chosen, others, place), torch.cat([chosen, others], -1)[..., place])
print("fine")
"""


@pytest.mark.slow
def test_both_forms_under_the_interpreter():
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "fine", done.stderr
