"""Binary floating-point formats, described by their bits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mfi_command import BadInput

Specials = Literal["ieee", "fn", "finite"]


@dataclass(frozen=True)
class Format:
    """A binary format: sign, exponent, mantissa, and what its highest exponent means.

    Attributes
    ----------
    name : str
    exponent_bits, mantissa_bits : int
        Stored bits; the leading one of a normal number is not stored.
    specials : {"ieee", "fn", "finite"}
        "ieee": the highest exponent holds infinities and NaN, overflow gives an infinity. "fn": no
        infinity, one NaN (all ones), overflow gives NaN. "finite": neither, overflow saturates.

    Notes
    -----
    With bias :math:`b = 2^{E-1} - 1`, a normal number is :math:`(-1)^s\\, 2^{e-b}\\, (1 + f/2^M)`, a
    subnormal :math:`(-1)^s\\, 2^{1-b}\\, f/2^M`. Sources: IEEE 754-2019 section 3; OCP 8-bit Floating
    Point Specification (e4m3 is "fn", e5m2 "ieee"); OCP Microscaling Formats 1.0 (e2m1 is "finite").

    Examples
    --------
    >>> FP16.eps, FP16.max
    (0.0009765625, 65504.0)
    """

    name: str
    exponent_bits: int
    mantissa_bits: int
    specials: Specials = "ieee"

    @property
    def bits(self) -> int:
        """Width in bits, the sign included."""
        return 1 + self.exponent_bits + self.mantissa_bits

    @property
    def bias(self) -> int:
        """What is subtracted from the stored exponent."""
        return (1 << (self.exponent_bits - 1)) - 1

    @property
    def min_exponent(self) -> int:
        """Exponent of the smallest normal number."""
        return 1 - self.bias

    @property
    def eps(self) -> float:
        """Distance from 1 to the next number; half of it bounds the relative error of one rounding."""
        return 2.0**-self.mantissa_bits

    @property
    def max(self) -> float:
        """Largest finite number."""
        top_exponent = (1 << self.exponent_bits) - 1 - self.bias
        if self.specials == "ieee":
            return math.ldexp(2.0 - self.eps, top_exponent - 1)
        # All ones is the NaN of an "fn" format, so its largest mantissa is one step lower.
        return math.ldexp(2.0 - self.eps * (2 if self.specials == "fn" else 1), top_exponent)

    @property
    def min_normal(self) -> float:
        """Smallest positive number with full precision."""
        return 2.0**self.min_exponent

    @property
    def min_subnormal(self) -> float:
        """Smallest positive number."""
        return 2.0 ** (self.min_exponent - self.mantissa_bits)

    @property
    def overflow_to(self) -> float:
        """What a magnitude beyond `max` becomes (with the sign of the number where it has one)."""
        return {"ieee": np.inf, "fn": np.nan, "finite": self.max}[self.specials]

    def values(self) -> NDArray[np.float64]:
        """Every finite number of the format, ascending, -0 and +0 once. For formats of at most 16 bits."""
        if self.bits > 16:
            raise BadInput(f"{self.name} has 2^{self.bits} values; list those of a format of at most 16 bits")
        codes = np.arange(2 ** (self.bits - 1))
        exponent, fraction = codes >> self.mantissa_bits, codes & (2**self.mantissa_bits - 1)
        significand = np.where(exponent > 0, 2**self.mantissa_bits + fraction, fraction).astype(np.float64)
        positive = np.ldexp(significand, np.maximum(exponent, 1) - self.bias - self.mantissa_bits)
        positive = positive[positive <= self.max]
        return np.concatenate([-positive[:0:-1], positive])

    def to_dict(self) -> dict[str, object]:
        """The constants, under the names that `stable-ops format --json` prints."""
        return {
            "format": self.name,
            "bits": self.bits,
            "exponent_bits": self.exponent_bits,
            "mantissa_bits": self.mantissa_bits,
            "specials": self.specials,
            "eps": self.eps,
            "max": self.max,
            "min_normal": self.min_normal,
            "min_subnormal": self.min_subnormal,
        }


FP64 = Format("fp64", 11, 52)
FP32 = Format("fp32", 8, 23)
FP16 = Format("fp16", 5, 10)
BF16 = Format("bf16", 8, 7)
FP8_E4M3FN = Format("fp8_e4m3fn", 4, 3, "fn")
FP8_E5M2 = Format("fp8_e5m2", 5, 2)
FP4_E2M1 = Format("fp4_e2m1", 2, 1, "finite")

FORMATS = {f.name: f for f in (FP64, FP32, FP16, BF16, FP8_E4M3FN, FP8_E5M2, FP4_E2M1)}

_OTHER_NAMES = {
    "float64": FP64,
    "double": FP64,
    "float32": FP32,
    "float": FP32,
    "float16": FP16,
    "half": FP16,
    "bfloat16": BF16,
    "float8_e4m3fn": FP8_E4M3FN,
    "fp8_e4m3": FP8_E4M3FN,
    "e4m3fn": FP8_E4M3FN,
    "e4m3": FP8_E4M3FN,
    "float8_e5m2": FP8_E5M2,
    "e5m2": FP8_E5M2,
    "float4_e2m1fn": FP4_E2M1,
    "fp4": FP4_E2M1,
    "e2m1": FP4_E2M1,
}


def get_format(name: str | Format) -> Format:
    """The format of that name; a Format passes through.

    Parameters
    ----------
    name : str or Format
        A key of `FORMATS`, or the name that numpy, ml_dtypes or torch gives it ("float16",
        "torch.bfloat16", "float8_e4m3fn").

    Raises
    ------
    BadInput
        For a name that is none of these.
    """
    if isinstance(name, Format):
        return name
    key = str(name).lower().removeprefix("torch.").replace("-", "_")
    found = FORMATS.get(key) or _OTHER_NAMES.get(key)
    if found is None:
        raise BadInput(f"no format is named {str(name)!r}: use one of {', '.join(FORMATS)}")
    return found
