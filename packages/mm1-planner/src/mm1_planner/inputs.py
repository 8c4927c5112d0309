"""What a number given from outside must be, with the sentence that says so."""

from __future__ import annotations

import math
import re

from mfi_command import BadInput

MAX_RATE_PER_S = 1e12
"""Largest rate accepted; beyond it double precision no longer tells two arrivals of a long run apart."""

MAX_SERVERS = 1_000_000
"""Largest number of servers, and of places in a finite queue."""

_PER_SECOND = {"s": 1.0, "sec": 1.0, "second": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "hour": 3600.0}
# Two tables, so that each conversion is one correctly rounded operation: 350 * 1e-3 is not 0.35.
_IN_A_SECOND = {"ns": 1e9, "us": 1e6, "µs": 1e6, "ms": 1e3, "s": 1.0, "": 1.0}
_OF_SECONDS = {"min": 60.0, "h": 3600.0}
_QUANTITY = re.compile(r"\s*([-+]?[\w.]+?(?:e[-+]?\d+)?)\s*(/\s*[a-z]+|[µa-z]+)?\s*", re.IGNORECASE)


def positive(name: str, value: float, *, largest: float = MAX_RATE_PER_S) -> float:
    """`value` as a float, refused unless 1/largest <= value <= largest."""
    number = _number(name, value)
    if not 1 / largest <= number <= largest:
        raise BadInput(f"{name} is {value}; expected a positive number, {1 / largest:g} to {largest:g}")
    return number


def not_negative(name: str, value: float, *, largest: float = 1e6) -> float:
    """`value` as a float, refused unless 0 <= value <= largest."""
    number = _number(name, value)
    if not 0 <= number <= largest:
        raise BadInput(f"{name} is {value}; expected a number between 0 and {largest:g}")
    return number


def whole(name: str, value: int, *, least: int = 1, largest: int = MAX_SERVERS) -> int:
    """`value` as an int, refused unless it is a whole number in [least, largest]."""
    number = _number(name, value)
    if number != math.floor(number) or not least <= number <= largest:
        raise BadInput(f"{name} is {value}; expected a whole number between {least} and {largest}")
    return int(number)


def fraction(name: str, value: float) -> float:
    """`value` as a float strictly between 0 and 1."""
    number = _number(name, value)
    if not 0 < number < 1:
        raise BadInput(f"{name} is {value}; expected a fraction between 0 and 1, such as 0.99")
    return number


def parse_rate_per_s(name: str, text: str | float, *, idle: bool = False) -> float:
    """A rate such as `120`, `120/s` or `7200/min`, per second; 0 is one where `idle` is allowed."""
    number, unit = _split(name, text, "120, 120/s or 7200/min")
    unit = unit.removeprefix("/").strip()
    if unit and unit not in _PER_SECOND:
        raise BadInput(f"{name} is {text!r}; expected a rate such as 120, 120/s or 7200/min")
    if idle and number == 0:
        return 0.0
    return positive(name, number / _PER_SECOND.get(unit, 1.0))


def parse_seconds(name: str, text: str | float) -> float:
    """A positive duration such as `0.35`, `350ms` or `2min`, in seconds."""
    number, unit = _split(name, text, "0.35, 350ms or 2min")
    if unit in _OF_SECONDS:
        return positive(name, number * _OF_SECONDS[unit])
    if unit not in _IN_A_SECOND:
        raise BadInput(f"{name} is {text!r}; expected a duration such as 0.35, 350ms or 2min")
    return positive(name, number / _IN_A_SECOND[unit])


def _split(name: str, text: str | float, examples: str) -> tuple[float, str]:
    match = _QUANTITY.fullmatch(str(text))
    try:
        return float(match[1]) if match else float(str(text)), (match[2] or "").lower() if match else ""
    except ValueError:
        raise BadInput(f"{name} is {text!r}; expected a number such as {examples}") from None


def _number(name: str, value: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise BadInput(f"{name} is {value!r}; expected a number") from None
    if not math.isfinite(number):
        raise BadInput(f"{name} is {value}; expected a finite number")
    return number
