"""One quick look for all formats of an audit: whether any of them could lose anything here.

Each condition is necessary for the judgement of `judge` in at least one of the formats, so that what is
screened out would not have been reported; most operations of a sound model are, at a tenth of the cost.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stable_ops.audit.judge import ABSORBED_SHARE, CANCELLED_SHARE, ZERO_SHARE, precision
from stable_ops.audit.sample import Array
from stable_ops.fp.formats import Format


class Screen:
    """The widest condition over some formats."""

    def __init__(self, formats: Sequence[Format]) -> None:
        self._largest = min(f.max for f in formats)
        self._normal = max(f.min_normal for f in formats)
        self._unit = max(f.eps / 2 for f in formats)
        self._least = max(f.min_subnormal for f in formats)
        halves = [2.0 ** (-precision(f) / 2) for f in formats]
        self._slope = max(1.01 * f.eps / 2 / half for f, half in zip(formats, halves, strict=True))
        self._floor = max(f.min_subnormal / half for f, half in zip(formats, halves, strict=True))

    def values(self, largest: float, magnitudes: Array) -> bool:
        """Whether values could overflow, or so many of a sample of magnitudes `(n,)` be lost or subnormal."""
        if largest > self._largest:
            return True
        small = int(np.count_nonzero(magnitudes < self._normal))
        # Zeros count as small here and never as nonzero, so this is at least the share of the rule.
        return small >= ZERO_SHARE * (magnitudes.size - small)

    def pair(self, exact: Array, sizes: tuple[Array, Array], absorbs: tuple[bool, bool]) -> bool:
        """Whether additions with results and operands' magnitudes `(n,)` could absorb or cancel."""
        large, small = sizes
        if (absorbs[1] and self._absorbs(large, small)) or (absorbs[0] and self._absorbs(small, large)):
            return True
        size = large + small
        lost = np.abs(exact) <= self._slope * size + self._floor
        used = (exact != 0) & (size <= self._largest)
        return int(np.count_nonzero(lost)) >= CANCELLED_SHARE * int(np.count_nonzero(used))

    def _absorbs(self, large: Array, small: Array) -> bool:
        lost = int(np.count_nonzero(small <= 1.02 * self._unit * large + self._least))
        return lost >= ABSORBED_SHARE * int(np.count_nonzero(small > self._least))
