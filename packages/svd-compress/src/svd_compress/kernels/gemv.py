r"""One token through a factored layer in one launch: y = L (R x).

Two library calls start two kernels, and the second waits idle for the first to drain. Here every
multiprocessor computes its share of the r inner values, asks for its rows of L while it waits for the others,
and goes on when all inner values are there. The launch is cooperative: all programs run at once, or the wait
would never end.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl


@triton.jit
def _wait_for_all(counter, programs):
    # Everything this program wrote is visible before its arrival is.
    tl.debug_barrier()
    tl.atomic_add(counter, 1, sem="release", scope="gpu")
    while tl.atomic_add(counter, 0, sem="acquire", scope="gpu") < programs:
        pass
    tl.debug_barrier()


@triton.jit
def _leave(counter, programs):
    # The last program to leave sets the counters back for the next launch.
    if tl.atomic_add(counter + 1, 1, sem="acq_rel", scope="gpu") == programs - 1:
        tl.atomic_xchg(counter, 0, sem="release", scope="gpu")
        tl.atomic_xchg(counter + 1, 0, sem="release", scope="gpu")


@triton.jit
def _lowrank_gemv(
    x_ptr, right_ptr, left_ptr, inner_ptr, y_ptr, pivots_ptr, rest_ptr, counter_ptr,
    n, r, rows_left, programs,
    ROWS_1: tl.constexpr, BLOCK_N: tl.constexpr, ROWS_2: tl.constexpr, BLOCK_R: tl.constexpr,
    PIVOTED: tl.constexpr,
):  # fmt: skip
    pid = tl.program_id(0)
    # Part 1: inner = R x, rows shared out in blocks of ROWS_1.
    for first in range(pid * ROWS_1, r, programs * ROWS_1):
        rows = first + tl.arange(0, ROWS_1)
        sums = tl.zeros((ROWS_1, BLOCK_N), tl.float32)
        for k in range(0, n, BLOCK_N):
            columns = k + tl.arange(0, BLOCK_N)
            x = tl.load(x_ptr + columns, mask=columns < n, other=0.0).to(tl.float32)
            mask = (rows < r)[:, None] & (columns < n)[None, :]
            tile = tl.load(
                right_ptr + rows[:, None].to(tl.int64) * n + columns[None, :], mask=mask, other=0.0
            )
            sums += tile.to(tl.float32) * x[None, :]
        inner = tl.sum(sums, 1)
        tl.store(inner_ptr + rows, inner, mask=rows < r)
        if PIVOTED:
            places = tl.load(pivots_ptr + rows, mask=rows < r, other=0)
            tl.store(y_ptr + places, inner.to(y_ptr.dtype.element_ty), mask=rows < r)
    # The first rows of L are on their way while the other programs finish.
    inside = tl.arange(0, BLOCK_R)
    rows = pid * ROWS_2 + tl.arange(0, ROWS_2)
    mask = (rows < rows_left)[:, None] & (inside < r)[None, :]
    tile = tl.load(left_ptr + rows[:, None].to(tl.int64) * r + inside[None, :], mask=mask, other=0.0)
    _wait_for_all(counter_ptr, programs)
    values = tl.load(inner_ptr + inside, mask=inside < r, other=0.0, cache_modifier=".cg")
    y = tl.sum(tile.to(tl.float32) * values[None, :], 1)
    places = tl.load(rest_ptr + rows, mask=rows < rows_left, other=0) if PIVOTED else rows
    tl.store(y_ptr + places, y.to(y_ptr.dtype.element_ty), mask=rows < rows_left)
    for first in range((pid + programs) * ROWS_2, rows_left, programs * ROWS_2):
        rows = first + tl.arange(0, ROWS_2)
        mask = (rows < rows_left)[:, None] & (inside < r)[None, :]
        tile = tl.load(left_ptr + rows[:, None].to(tl.int64) * r + inside[None, :], mask=mask, other=0.0)
        y = tl.sum(tile.to(tl.float32) * values[None, :], 1)
        places = tl.load(rest_ptr + rows, mask=rows < rows_left, other=0) if PIVOTED else rows
        tl.store(y_ptr + places, y.to(y_ptr.dtype.element_ty), mask=rows < rows_left)
    _leave(counter_ptr, programs)


class LowRankGemv:
    """y = left (right x) for one token, with buffers that are kept between calls.

    Parameters
    ----------
    left, right
        (m, r) and (r, n), contiguous, on one GPU; or the pivoted form with (m - r, r).
    pivots, rest
        int32 rows of y that `right` gives and that `left` gives; None for two full factors.

    Notes
    -----
    One object must not run on two streams at once: they would share the counters.
    """

    def __init__(
        self,
        left: torch.Tensor,
        right: torch.Tensor,
        *,
        pivots: torch.Tensor | None = None,
        rest: torch.Tensor | None = None,
        rows: tuple[int, int] | None = None,
        warps: int = 8,
    ) -> None:
        self.left, self.right, self.pivots, self.rest = left, right, pivots, rest
        r, self.n = right.shape
        self.r = r
        self.m = len(left) + (r if pivots is not None else 0)
        on_gpu = left.is_cuda
        self.programs = torch.cuda.get_device_properties(left.device).multi_processor_count if on_gpu else 1
        block_r = triton.next_power_of_2(r)
        # A tile of L must fit the registers of its program: 64 Ki numbers of 16 bits.
        fits = max(1, 32768 // block_r)
        share = triton.next_power_of_2(-(-len(left) // self.programs))
        inner_share = triton.next_power_of_2(-(-r // self.programs))
        rows_1, rows_2 = rows or (min(8, inner_share), min(fits, share))
        self.blocks = {
            "ROWS_1": rows_1,
            "BLOCK_N": min(1024, triton.next_power_of_2(self.n)),
            "ROWS_2": rows_2,
            "BLOCK_R": block_r,
        }
        self.warps = warps
        self.inner = torch.empty(r, dtype=torch.float32, device=left.device)
        self.counters = torch.zeros(2, dtype=torch.int32, device=left.device)
        self._options: dict[str, Any] = {"launch_cooperative_grid": True} if on_gpu else {}

    def __call__(self, x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        """(n,) to (m,); `y` is written if given."""
        if y is None:
            y = x.new_empty(self.m)
        _lowrank_gemv[(self.programs,)](
            x, self.right, self.left, self.inner, y,
            self.inner if self.pivots is None else self.pivots,
            self.inner if self.rest is None else self.rest,
            self.counters, self.n, self.r, len(self.left), self.programs,
            **self.blocks, PIVOTED=self.pivots is not None, num_warps=self.warps, **self._options,
        )  # fmt: skip
        return y
