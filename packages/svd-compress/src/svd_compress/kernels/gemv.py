r"""One token through a factored layer in one launch: y = L (R x).

Two library calls start two kernels, and the second waits idle for the first to drain. Here every
multiprocessor computes its share of the r inner values, asks for its rows of L while it waits for the others,
and goes on when all inner values are there. The launch is cooperative: all programs run at once, or the wait
would never end.
"""

from __future__ import annotations

from dataclasses import dataclass
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
    # The first rows of L are asked for before anything else: they arrive while R is read.
    inside = tl.arange(0, BLOCK_R)
    rows_2 = pid * ROWS_2 + tl.arange(0, ROWS_2)
    mask_2 = (rows_2 < rows_left)[:, None] & (inside < r)[None, :]
    tile_2 = tl.load(left_ptr + rows_2[:, None].to(tl.int64) * r + inside[None, :], mask=mask_2, other=0.0)
    # Part 1: inner = R x, rows shared out in blocks of ROWS_1.
    for first in range(pid * ROWS_1, r, programs * ROWS_1):
        rows = first + tl.arange(0, ROWS_1)
        sums = tl.zeros((ROWS_1,), tl.float32)
        for k in range(0, n, BLOCK_N):
            columns = k + tl.arange(0, BLOCK_N)
            x = tl.load(x_ptr + columns, mask=columns < n, other=0.0).to(tl.float32)
            mask = (rows < r)[:, None] & (columns < n)[None, :]
            tile = tl.load(
                right_ptr + rows[:, None].to(tl.int64) * n + columns[None, :], mask=mask, other=0.0
            )
            sums += tl.sum(tile.to(tl.float32) * x[None, :], 1)
        tl.store(inner_ptr + rows, sums, mask=rows < r)
        if PIVOTED:
            places = tl.load(pivots_ptr + rows, mask=rows < r, other=0)
            tl.store(y_ptr + places, sums.to(y_ptr.dtype.element_ty), mask=rows < r)
    _wait_for_all(counter_ptr, programs)
    # Part 2: y = L inner.
    values = tl.load(inner_ptr + inside, mask=inside < r, other=0.0, cache_modifier=".cg")
    y = tl.sum(tile_2.to(tl.float32) * values[None, :], 1)
    places = tl.load(rest_ptr + rows_2, mask=rows_2 < rows_left, other=0) if PIVOTED else rows_2
    tl.store(y_ptr + places, y.to(y_ptr.dtype.element_ty), mask=rows_2 < rows_left)
    for first in range((pid + programs) * ROWS_2, rows_left, programs * ROWS_2):
        rows = first + tl.arange(0, ROWS_2)
        mask = (rows < rows_left)[:, None] & (inside < r)[None, :]
        tile = tl.load(left_ptr + rows[:, None].to(tl.int64) * r + inside[None, :], mask=mask, other=0.0)
        y = tl.sum(tile.to(tl.float32) * values[None, :], 1)
        places = tl.load(rest_ptr + rows, mask=rows < rows_left, other=0) if PIVOTED else rows
        tl.store(y_ptr + places, y.to(y_ptr.dtype.element_ty), mask=rows < rows_left)
    _leave(counter_ptr, programs)


@dataclass(frozen=True)
class Launch:
    """How the work is cut: rows of R and columns at a time, rows of L at a time, programs on each multiprocessor."""

    rows_1: int
    block_n: int
    rows_2: int
    per_sm: int = 1
    warps: int = 8


def default_launch(m_left: int, n: int, r: int, programs: int) -> Launch:
    """Tiles that keep as many bytes on their way as the registers of a program hold."""
    block_r = triton.next_power_of_2(r)
    share_1, share_2 = (triton.next_power_of_2(-(-rows // programs)) for rows in (r, m_left))
    return Launch(
        rows_1=min(8, share_1),
        block_n=min(1024, triton.next_power_of_2(n)),
        rows_2=max(1, min(share_2, 32768 // block_r)),
    )


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
        launch: Launch | None = None,
    ) -> None:
        self.left, self.right, self.pivots, self.rest = left, right, pivots, rest
        r, self.n = right.shape
        self.r = r
        self.m = len(left) + (r if pivots is not None else 0)
        on_gpu = left.is_cuda
        units = torch.cuda.get_device_properties(left.device).multi_processor_count if on_gpu else 1
        self.launch = launch or default_launch(len(left), self.n, r, units)
        self.programs = units * self.launch.per_sm if on_gpu else 1
        self.blocks = {
            "ROWS_1": self.launch.rows_1,
            "BLOCK_N": self.launch.block_n,
            "ROWS_2": self.launch.rows_2,
            "BLOCK_R": triton.next_power_of_2(r),
        }
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
            **self.blocks, PIVOTED=self.pivots is not None, num_warps=self.launch.warps, **self._options,
        )  # fmt: skip
        return y
