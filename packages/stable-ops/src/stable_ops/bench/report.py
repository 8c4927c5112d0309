"""What a run measured."""

from __future__ import annotations

import datetime
from dataclasses import asdict, dataclass, field
from typing import Any

from stable_ops.bench.cases import Point


@dataclass(frozen=True)
class SpeedRow:
    """One kernel on one point.

    Attributes
    ----------
    op, shape, dtype, backend
        What ran; `backend` is the library.
    median_s : float
        Median time of one call.
    gb_per_s : float
        Useful bytes (inputs once, outputs once) over that time, in 1e9 bytes/s.
    of_copy : float
        That over the bandwidth of a copy whose calls alternated with this kernel's.
    of_read : float or None
        That over the bandwidth of reading alone; measured for logsumexp and top_p.
    tier : str or None
        What stable_ops promises of its result on a CUDA device; None for others.
    extra_bytes : int or None
        Most memory in use during a call beyond its operands and result; measured for numpy arrays.
    """

    op: str
    shape: tuple[int, int]
    dtype: str
    backend: str
    median_s: float
    gb_per_s: float
    of_copy: float
    of_read: float | None = None
    tier: str | None = None
    extra_bytes: int | None = None


@dataclass(frozen=True)
class Absence:
    """A kernel that is not in the table, and why; `failed` if it exists and raised."""

    op: str
    length: int | None
    dtype: str
    backend: str
    reason: str
    failed: bool


@dataclass(frozen=True)
class LaunchRow:
    """Host time of one call on a tiny input: what a call costs before the device does anything."""

    op: str
    dtype: str
    backend: str
    host_us: float


@dataclass(frozen=True)
class AccuracyRow:
    """The error of one kernel on one class of inputs.

    Attributes
    ----------
    kind : str
        normal, scale 10, shifted (mean 1000, standard deviation 1), or every 16-bit number.
    max_ulp : float
        Largest error, in ulp of the truth; 0.5 is correct rounding, infinite a wrong NaN or infinity.
    misrounded, outputs : int
        Outputs that are not the nearest number of the format, of how many.
    near_ties, near_ties_misrounded : int
        The same of those outputs whose truth is within 1/256 ulp of a tie: a kernel whose error is above that
        is as good as a coin there.
    """

    op: str
    dtype: str
    backend: str
    kind: str
    length: int
    max_ulp: float
    misrounded: int
    outputs: int
    near_ties: int
    near_ties_misrounded: int


@dataclass(frozen=True)
class InvarianceRow:
    """Whether the first rows of a batch have the same bits in smaller batches.

    Attributes
    ----------
    batches : tuple of int
        Batch sizes tried, the last the largest.
    differing : tuple of int
        Those whose rows have other bits than the largest gives them.
    outputs_differing : int
        Numbers that differ, over all batch sizes.
    """

    op: str
    dtype: str
    backend: str
    length: int
    batches: tuple[int, ...]
    differing: tuple[int, ...]
    outputs_differing: int


@dataclass(frozen=True)
class TrialRow:
    """What `stable_ops.testing.check` finds at a limit of one ulp: how many failures, of which sorts."""

    op: str
    dtype: str
    backend: str
    failures: int
    sorts: dict[str, int]
    max_ulp: float
    batch_invariant: bool


@dataclass
class BenchReport:
    """A run on one device; filled point by point."""

    device: str
    versions: dict[str, str]
    calls: int
    threads: int | None = None
    copy_gb_per_s: dict[str, float] = field(default_factory=dict)
    read_gb_per_s: dict[str, float] = field(default_factory=dict)
    rows: list[SpeedRow] = field(default_factory=list)
    absent: list[Absence] = field(default_factory=list)
    launches: list[LaunchRow] = field(default_factory=list)
    accuracy: list[AccuracyRow] = field(default_factory=list)
    invariance: list[InvarianceRow] = field(default_factory=list)
    trials: list[TrialRow] = field(default_factory=list)
    date: str = field(default_factory=lambda: datetime.datetime.now(tz=datetime.UTC).date().isoformat())

    def to_dict(self) -> dict[str, Any]:
        """The fields, as `stable-ops bench --json` prints them."""
        return asdict(self)


def tier_of(backend: str, point: Point) -> str | None:
    """The tier that stable_ops promises for a CUDA tensor; None for other libraries and for sampling."""
    if backend != "stable_ops":
        return None
    from stable_ops.ops.triton.tiers import tier

    try:
        return str(tier(point.op, point.dtype))
    except KeyError:
        return None
