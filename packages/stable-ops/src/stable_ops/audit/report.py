"""What an audit answers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["overflow", "underflow", "absorption", "cancellation"]


@dataclass(frozen=True)
class Hazard:
    """One operation that would go wrong in one format.

    Attributes
    ----------
    where : str
        Path of the module that ran the operation, "" for the outermost.
    op : str
        The operation as torch names it; "input" or "parameter" for a tensor that is stored.
    tensor : str
        What loses the bits: "output", "input 0", or the parameter's name.
    kind : {"overflow", "underflow", "absorption", "cancellation"}
    format : str
        The number format in which it happens.
    bits_lost : float
        Of the format's significant bits: all for an overflow; else the mean over the nonzero values
        (underflow) or the median over the values affected (absorption, cancellation).
    share : float
        Part of the values affected, from a sample of at most 1024; for an overflow the largest magnitude
        over the format's largest number.
    safe_dtype : str
        The narrowest of fp8_e4m3fn, fp8_e5m2, fp16, bf16 in which this operation shows no hazard, else
        fp32, or fp64 if float32 itself overflowed.
    fix : str
        What to write instead.
    """

    where: str
    op: str
    tensor: str
    kind: Kind
    format: str
    bits_lost: float
    share: float
    safe_dtype: str
    fix: str


@dataclass(frozen=True)
class AuditReport:
    """The hazards of one run, worst first, and how much was looked at.

    `run_s` is the wall time of the audited run, None where nothing was run.
    """

    hazards: tuple[Hazard, ...]
    formats: tuple[str, ...]
    operations: int
    run_s: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields, as `stable-ops audit --json` prints them."""
        return {
            "hazards": [asdict(h) for h in self.hazards],
            "formats": list(self.formats),
            "operations": self.operations,
            "run_s": self.run_s,
        }
