"""Binary floating-point formats, described by their bits."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mfi_command import BadInput

Specials = Literal["ieee", "fn", "finite", "fnuz", "fnu"]

_LISTED_BITS = 20
_SPEC = re.compile(
    r"e(?P<exponent>\d+)m(?P<mantissa>\d+)(b(?P<bias>\d+))?(?P<specials>ieee|fnuz|fnu|fn|finite)?"
)


@dataclass(frozen=True)
class Format:
    """A binary format: sign, exponent, mantissa, and what its codes at the end mean.

    Attributes
    ----------
    name : str
    exponent_bits, mantissa_bits : int
        Stored bits, 2 to 11 and 0 to 52; the leading one of a normal number is not stored.
    specials : {"ieee", "fn", "finite", "fnuz", "fnu"}
        "ieee": the highest exponent holds infinities and NaN, overflow gives an infinity. "fn": no
        infinity, one NaN (all ones), overflow gives NaN. "finite": neither, overflow saturates. "fnuz": no
        infinity and no negative zero, whose code is the NaN; overflow gives NaN. "fnu": "fn" without a sign,
        without zero and subnormal numbers; what is below the smallest number becomes it.
    exponent_bias : int, optional
        Subtracted from the stored exponent; :math:`2^{E-1} - 1` unless given, :math:`2^{E-1}` for "fnuz".

    Notes
    -----
    With bias b, a normal number is :math:`(-1)^s\\, 2^{e-b}\\, (1 + f/2^M)`, a subnormal
    :math:`(-1)^s\\, 2^{1-b}\\, f/2^M`. Sources: IEEE 754-2019 section 3; OCP 8-bit Floating Point
    Specification (e4m3 is "fn", e5m2 "ieee"); OCP Microscaling Formats 1.0 (e2m1, e2m3, e3m2 are "finite",
    the scale e8m0 "fnu"); Noune et al., 8-bit numerical formats for deep neural networks (2022), for "fnuz".

    Raises
    ------
    BadInput
        Bits out of range, or numbers that float64 does not hold.

    Examples
    --------
    >>> FP16.eps, FP16.max
    (0.0009765625, 65504.0)
    >>> Format("mine", 6, 9).max
    4290772992.0
    """

    name: str
    exponent_bits: int
    mantissa_bits: int
    specials: Specials = "ieee"
    exponent_bias: int | None = None

    def __post_init__(self) -> None:
        if self.specials not in get_args(Specials):
            raise BadInput(
                f"specials {self.specials!r} are not known: use one of {', '.join(get_args(Specials))}"
            )
        if not (2 <= self.exponent_bits <= 11 and 0 <= self.mantissa_bits <= 52):
            raise BadInput(
                f"{self.name} has {self.exponent_bits} exponent and {self.mantissa_bits} mantissa bits: "
                "use 2 to 11 and 0 to 52"
            )
        if self.specials == "ieee" and self.mantissa_bits == 0:
            raise BadInput(f"{self.name} has no mantissa to hold a NaN: use 'fn' or 'finite'")
        if self._top_exponent > 1023 or self.min_exponent - self.mantissa_bits < -1074:
            raise BadInput(f"{self.name} has numbers beyond those of float64: use fewer exponent bits")

    @cached_property
    def bits(self) -> int:
        """Width in bits, the sign included where there is one."""
        return (self.specials != "fnu") + self.exponent_bits + self.mantissa_bits

    @cached_property
    def bias(self) -> int:
        """What is subtracted from the stored exponent."""
        if self.exponent_bias is not None:
            return self.exponent_bias
        return (1 << (self.exponent_bits - 1)) - (self.specials != "fnuz")

    @cached_property
    def min_exponent(self) -> int:
        """Exponent of the smallest normal number."""
        return (self.specials != "fnu") - self.bias

    @cached_property
    def _top_exponent(self) -> int:
        """Exponent of the largest finite number: one code lower where the highest is all special."""
        special = self.specials == "ieee" or (self.specials in ("fn", "fnu") and self.mantissa_bits == 0)
        return (1 << self.exponent_bits) - 1 - self.bias - special

    @cached_property
    def eps(self) -> float:
        """Distance from 1 to the next number; half of it bounds the relative error of one rounding."""
        return 2.0**-self.mantissa_bits

    @cached_property
    def max(self) -> float:
        """Largest finite number."""
        # All ones is the NaN of an "fn" format, so its largest mantissa is one step lower.
        step = 2 if self.specials in ("fn", "fnu") and self.mantissa_bits > 0 else 1
        return math.ldexp(2.0 - self.eps * step, self._top_exponent)

    @cached_property
    def min_normal(self) -> float:
        """Smallest positive number with full precision."""
        return 2.0**self.min_exponent

    @cached_property
    def min_subnormal(self) -> float:
        """Smallest positive number."""
        return 2.0 ** (self.min_exponent - (0 if self.specials == "fnu" else self.mantissa_bits))

    @cached_property
    def overflow_to(self) -> float:
        """What a magnitude beyond `max` becomes (with the sign of the number where it has one)."""
        return {"ieee": math.inf, "finite": self.max}.get(self.specials, math.nan)

    @cached_property
    def has_nan(self) -> bool:
        """Whether a code of the format is NaN."""
        return self.specials != "finite"

    def values(self) -> NDArray[np.float64]:
        """Every finite number of the format, ascending, -0 and +0 once. For formats of at most 20 bits."""
        if self.bits > _LISTED_BITS:
            raise BadInput(
                f"{self.name} has 2^{self.bits} values; list those of a format of at most {_LISTED_BITS} bits"
            )
        codes = np.arange(2 ** (self.exponent_bits + self.mantissa_bits))
        exponent, fraction = codes >> self.mantissa_bits, codes & (2**self.mantissa_bits - 1)
        normal = np.full(codes.shape, True) if self.specials == "fnu" else exponent > 0
        significand = np.where(normal, 2**self.mantissa_bits + fraction, fraction).astype(np.float64)
        lowest = 0 if self.specials == "fnu" else 1
        positive = np.ldexp(significand, np.maximum(exponent, lowest) - self.bias - self.mantissa_bits)
        positive = positive[positive <= self.max]
        return positive if self.specials == "fnu" else np.concatenate([-positive[:0:-1], positive])

    def to_dict(self) -> dict[str, object]:
        """The constants, under the names that `stable-ops format --json` prints."""
        return {
            "format": self.name,
            "bits": self.bits,
            "exponent_bits": self.exponent_bits,
            "mantissa_bits": self.mantissa_bits,
            "specials": self.specials,
            "bias": self.bias,
            "eps": self.eps,
            "max": self.max,
            "min_normal": self.min_normal,
            "min_subnormal": self.min_subnormal,
        }


FP64 = Format("fp64", 11, 52)
FP32 = Format("fp32", 8, 23)
TF32 = Format("tf32", 8, 10)
FP16 = Format("fp16", 5, 10)
BF16 = Format("bf16", 8, 7)
FP8_E4M3FN = Format("fp8_e4m3fn", 4, 3, "fn")
FP8_E5M2 = Format("fp8_e5m2", 5, 2)
FP8_E4M3 = Format("fp8_e4m3ieee", 4, 3)
FP8_E3M4 = Format("fp8_e3m4", 3, 4)
FP8_E4M3FNUZ = Format("fp8_e4m3fnuz", 4, 3, "fnuz")
FP8_E5M2FNUZ = Format("fp8_e5m2fnuz", 5, 2, "fnuz")
FP8_E4M3B11FNUZ = Format("fp8_e4m3b11fnuz", 4, 3, "fnuz", 11)
FP6_E2M3 = Format("fp6_e2m3", 2, 3, "finite")
FP6_E3M2 = Format("fp6_e3m2", 3, 2, "finite")
FP4_E2M1 = Format("fp4_e2m1", 2, 1, "finite")
E8M0FNU = Format("e8m0fnu", 8, 0, "fnu")

_ALL = (
    *(FP64, FP32, TF32, FP16, BF16, FP8_E4M3FN, FP8_E5M2, FP8_E4M3, FP8_E3M4),
    *(FP8_E4M3FNUZ, FP8_E5M2FNUZ, FP8_E4M3B11FNUZ, FP6_E2M3, FP6_E3M2, FP4_E2M1, E8M0FNU),
)
FORMATS = {f.name: f for f in _ALL}

_OTHER_NAMES = {
    "float64": FP64,
    "double": FP64,
    "float32": FP32,
    "float": FP32,
    "float16": FP16,
    "half": FP16,
    "bfloat16": BF16,
    "float8_e4m3": FP8_E4M3,
    "fp8_e4m3": FP8_E4M3FN,
    "e4m3": FP8_E4M3FN,
    "fp4": FP4_E2M1,
    # ml_dtypes calls a format without infinity fn, whether it has a NaN or not.
    **{f"{name}fn": FORMATS[f"fp{name[5:]}"] for name in ("float6_e2m3", "float6_e3m2", "float4_e2m1")},
    **{f"{name}fn": FORMATS[f"fp{n}_{name}"] for n, name in ((6, "e2m3"), (6, "e3m2"), (4, "e2m1"))},
    "float8_e8m0fnu": E8M0FNU,
    "e8m0": E8M0FNU,
}


def get_format(name: str | Format) -> Format:
    """The format of that name; a Format passes through.

    Parameters
    ----------
    name : str or Format
        A key of `FORMATS`, with or without its "fp8_"; the name that numpy, ml_dtypes or torch gives it
        ("float16", "torch.bfloat16", "float8_e4m3fn"); bits as "e6m9", followed by "b11" for another bias
        and by ieee (unless given), fn, finite, fnuz or fnu; or a TOML file that defines it, "mine.toml" or
        "mine.toml:name" (`read_formats`).

    Raises
    ------
    BadInput
        For a name that is none of these.

    Examples
    --------
    >>> get_format("e5m3").max, get_format("torch.float8_e5m2").name
    (61440.0, 'fp8_e5m2')
    """
    if isinstance(name, Format):
        return name
    text = str(name)
    key = text.lower().removeprefix("torch.").replace("-", "_")
    bare = key.removeprefix("float8_").removeprefix("fp8_")
    for known in (key, f"fp8_{bare}", f"fp6_{bare}", f"fp4_{bare}"):
        found = _OTHER_NAMES.get(known) or FORMATS.get(known)
        if found is not None:
            return found
    if bits := _SPEC.fullmatch(key):
        bias = bits["bias"]
        return Format(
            key,
            int(bits["exponent"]),
            int(bits["mantissa"]),
            bits["specials"] or "ieee",  # type: ignore[arg-type]
            None if bias is None else int(bias),
        )
    if ".toml" in key:
        from stable_ops.fp.reading import read_format

        return read_format(text)
    raise BadInput(
        f"no format is named {text!r}: use one of {', '.join(FORMATS)}, bits such as e6m9 or e4m3fn, "
        "or a TOML file"
    )
