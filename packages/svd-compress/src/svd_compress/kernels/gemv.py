r"""One token through a factored layer: y = L (R x), the second product begun before the first has ended.

Two library calls wait for each other: the second one's first bytes are asked for when the last program of the
first has gone, and with a few megabytes of weights that pause is longer than the reading. Here the second
kernel is launched as a programmatic dependent of the first (compute capability 9.0 and later): its programs
start beside those of the first, ask for their rows of L, and wait for the inner values only then.
"""

# Triton's decorators and the language inside them carry no types.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, import-untyped"

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

HOPPER = (9, 0)


@triton.jit
def _inner(
    x_ptr, right_ptr, inner_ptr, y_ptr, pivots_ptr, n, r,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, STAGES: tl.constexpr,
    PIVOTED: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """inner = R x; the values of a pivoted layer are outputs at the same time."""
    if OVERLAP:
        gdc_launch_dependents()
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    # Summed across threads once, at the end: a sum in the loop would hold up the loads behind it.
    products = tl.zeros((ROWS, BLOCK), tl.float32)
    for k in tl.range(0, n, BLOCK, num_stages=STAGES):
        columns = k + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + columns, mask=columns < n, other=0.0).to(tl.float32)
        mask = (rows < r)[:, None] & (columns < n)[None, :]
        tile = tl.load(right_ptr + rows[:, None].to(tl.int64) * n + columns[None, :], mask=mask, other=0.0)
        products += tile.to(tl.float32) * x[None, :]
    sums = tl.sum(products, 1)
    tl.store(inner_ptr + rows, sums, mask=rows < r)
    if PIVOTED:
        places = tl.load(pivots_ptr + rows, mask=rows < r, other=0)
        tl.store(y_ptr + places, sums.to(y_ptr.dtype.element_ty), mask=rows < r)


@triton.jit
def _outer(
    inner_ptr, left_ptr, y_ptr, rest_ptr, m, r,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, STAGES: tl.constexpr,
    PIVOTED: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """y = L inner, the first block of L on its way before inner is waited for."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    columns = tl.arange(0, BLOCK)
    places = tl.load(rest_ptr + rows, mask=rows < m, other=0) if PIVOTED else rows
    mask = (rows < m)[:, None] & (columns < r)[None, :]
    tile = tl.load(left_ptr + rows[:, None].to(tl.int64) * r + columns[None, :], mask=mask, other=0.0)
    if OVERLAP:
        gdc_wait()
    # Not through the first-level cache, which may hold the values of the call before.
    values = tl.load(inner_ptr + columns, mask=columns < r, other=0.0, cache_modifier=".cg")
    products = tile.to(tl.float32) * values[None, :]
    for k in tl.range(BLOCK, r, BLOCK, num_stages=STAGES):
        columns = k + tl.arange(0, BLOCK)
        mask = (rows < m)[:, None] & (columns < r)[None, :]
        tile = tl.load(left_ptr + rows[:, None].to(tl.int64) * r + columns[None, :], mask=mask, other=0.0)
        values = tl.load(inner_ptr + columns, mask=columns < r, other=0.0, cache_modifier=".cg")
        products += tile.to(tl.float32) * values[None, :]
    tl.store(y_ptr + places, tl.sum(products, 1).to(y_ptr.dtype.element_ty), mask=rows < m)


@dataclass(frozen=True)
class Launch:
    """How the two products are cut: rows and columns at a time, warps, and blocks on their way at once."""

    rows_1: int = 2
    block_1: int = 4096
    warps_1: int = 4
    stages_1: int = 1
    rows_2: int = 8
    block_2: int = 4096
    warps_2: int = 8
    stages_2: int = 1


# Tried in turn where a layer is measured: few rows at a time for small layers, many for large ones.
LAUNCHES = (
    Launch(),
    Launch(rows_1=4, block_1=2048, rows_2=4, block_2=2048, warps_2=4),
    Launch(rows_1=1, block_1=4096, rows_2=4, block_2=4096, warps_2=4),
    Launch(rows_1=4, block_1=4096, warps_1=8, rows_2=16, block_2=1024, warps_2=8),
    Launch(rows_1=2, block_1=2048, rows_2=2, block_2=4096, warps_2=4),
    Launch(rows_1=8, block_1=1024, stages_1=3, rows_2=8, block_2=2048),
    Launch(rows_1=4, block_1=2048, stages_1=3, rows_2=4, block_2=2048, warps_2=4, stages_2=2),
    Launch(rows_1=2, block_1=2048, stages_1=3, rows_2=4, block_2=4096),
)


class LowRankGemv:
    """y = left (right x) for one token, with buffers that are kept between calls.

    Parameters
    ----------
    left, right
        (m, r) and (r, n), contiguous, on one GPU; or the pivoted form with (m - r, r).
    pivots, rest
        int32 rows of y that `right` gives and that `left` gives; None for two full factors.
    launch
        How the work is cut.
    overlap
        Start the second kernel beside the first; by default where the device can.

    Notes
    -----
    One object must not run on two streams at once: they would share the inner values.
    """

    def __init__(
        self,
        left: torch.Tensor,
        right: torch.Tensor,
        *,
        pivots: torch.Tensor | None = None,
        rest: torch.Tensor | None = None,
        launch: Launch | None = None,
        overlap: bool | None = None,
    ) -> None:
        self.left, self.right = left, right
        self.r, self.n = right.shape
        self.m = len(left) + (self.r if pivots is not None else 0)
        self.launch = launch or Launch()
        self.inner = torch.empty(self.r, dtype=torch.float32, device=left.device)
        self.pivoted = pivots is not None
        self.pivots = self.inner if pivots is None else pivots
        self.rest = self.inner if rest is None else rest
        able = left.is_cuda and torch.cuda.get_device_capability(left.device) >= HOPPER
        self.overlap = able if overlap is None else overlap and able
        self._dependent: dict[str, Any] = {"launch_pdl": True} if self.overlap else {}

    def __call__(self, x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        """(n,) to (m,); `y` is written if given."""
        if y is None:
            y = x.new_empty(self.m)
        cut = self.launch
        _inner[(triton.cdiv(self.r, cut.rows_1),)](
            x, self.right, self.inner, y, self.pivots, self.n, self.r,
            ROWS=cut.rows_1, BLOCK=min(cut.block_1, triton.next_power_of_2(self.n)),
            STAGES=cut.stages_1, PIVOTED=self.pivoted, OVERLAP=self.overlap, num_warps=cut.warps_1,
        )  # fmt: skip
        if len(self.left):
            _outer[(triton.cdiv(len(self.left), cut.rows_2),)](
                self.inner, self.left, y, self.rest, len(self.left), self.r,
                ROWS=cut.rows_2, BLOCK=min(cut.block_2, triton.next_power_of_2(self.r)),
                STAGES=cut.stages_2, PIVOTED=self.pivoted, OVERLAP=self.overlap, num_warps=cut.warps_2,
                **self._dependent,
            )  # fmt: skip
        return y
