"""Which formats an audit knows, and how sums are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from mfi_command import BadInput
from stable_ops.fp.formats import Format, get_format

FORMATS = ("fp8_e4m3fn", "fp8_e5m2", "fp16", "bf16")
Accumulator = Literal["fp32", "same"]


def read_formats(names: Sequence[str], accumulator: str) -> tuple[Format, ...]:
    """The formats of those names; also checks the accumulator.

    Raises
    ------
    BadInput
        A format or an accumulator that is not audited, or no format.
    """
    chosen = tuple(dict.fromkeys(get_format(name) for name in names))
    unknown = [f.name for f in chosen if f.name not in FORMATS]
    if unknown or not chosen:
        raise BadInput(f"format {', '.join(unknown) or 'none'} is not audited: use of {', '.join(FORMATS)}")
    if accumulator not in ("fp32", "same"):
        raise BadInput(f"accumulator {accumulator!r} is not known: use fp32 or same")
    return chosen
