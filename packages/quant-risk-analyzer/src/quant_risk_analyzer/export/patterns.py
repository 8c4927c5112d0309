"""Regular expressions for module names: short, anchored, and for these modules only."""

from __future__ import annotations

import re
from collections.abc import Iterable


def regexes(names: Iterable[str]) -> list[str]:
    r"""One anchored expression for all names that differ in one number only.

    The numbers are listed, never a range or a prefix: layer 1 does not match layer 11.

    Examples
    --------
    >>> regexes(["model.layers.1.mlp.up_proj", "model.layers.11.mlp.up_proj", "lm_head"])
    ['^model\\.layers\\.(1|11)\\.mlp\\.up_proj$', '^lm_head$']
    """
    shapes: dict[tuple[str, str], list[str]] = {}
    for name in names:
        number = re.search(r"(?<=\.)\d+(?=\.)", name)
        before, after = (name[: number.start()], name[number.end() :]) if number else (name, "")
        shapes.setdefault((before, after), []).append(number[0] if number else "")
    found = []
    for (before, after), numbers in shapes.items():
        unique = sorted(set(numbers), key=lambda each: (len(each), each))
        middle = unique[0] if len(unique) == 1 else f"({'|'.join(unique)})"
        found.append(f"^{re.escape(before)}{middle}{re.escape(after)}$")
    return found
