"""The tail of the normal distribution, which gelu is made of."""

# mypy: disable-error-code="untyped-decorator, no-untyped-call"

from __future__ import annotations

from typing import Any

from stable_ops.compiled.bits import loop
from stable_ops.compiled.loops import exponential


@loop
def tail(t: Any) -> Any:
    """The probability of more than t >= 0, t a float32 number, whose square is exact.

    exp(-t^2 / 2) times a Chebyshev polynomial of degree 20, fitted in 60 digits, in (t - 5) / (t + 5), which
    takes [0, 15] to [-1, 1/2], there stretched to [-1, 1]. Relative error at most 2^-49 + t^2 2^-54 up to 15;
    beyond, where no float32 number is left of it, less than exp(-112).
    """
    v = 1.6666666666666667 - 13.333333333333334 / ((15.0 if t > 15.0 else t) + 5.0)
    p = v * 2.5204507710574143e-12 - 1.3729173311946291e-11
    p = p * v - 5.801413543291386e-11
    p = p * v + 2.148043350571089e-10
    p = p * v + 9.359234848259888e-10
    p = p * v - 2.70707575919249e-09
    p = p * v - 1.3698029525557213e-08
    p = p * v + 4.2043865032994305e-08
    p = p * v + 1.876542417058989e-07
    p = p * v - 8.635805691953271e-07
    p = p * v - 1.866918334696996e-06
    p = p * v + 1.980837598630555e-05
    p = p * v - 2.4140349383366794e-05
    p = p * v - 0.00032126795625597444
    p = p * v + 0.002369591273208777
    p = p * v - 0.00952412115559631
    p = p * v + 0.027493651178740763
    p = p * v - 0.06181176111503264
    p = p * v + 0.11188838612317932
    p = p * v - 0.16512208960678168
    p = p * v + 0.12151394835556217
    return exponential(-0.5 * t * t) * p
