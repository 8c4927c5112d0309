"""Sizes that a user gives: whole, positive, and small enough that a product of them stays a float."""

from __future__ import annotations

from mfi_command import BadInput

LARGEST = 10**12


def positive(name: str, value: object, *, largest: int = LARGEST) -> int:
    """`value` as an int between 1 and `largest`; `BadInput` naming `name` otherwise."""
    # bool is an int in Python, and `true` in a config.json is a mistake, not the number 1.
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadInput(f"{name} is {value!r}, expected a whole number between 1 and {largest}")
    if not 1 <= value <= largest:
        raise BadInput(f"{name} is {value}, expected a whole number between 1 and {largest}")
    return value
