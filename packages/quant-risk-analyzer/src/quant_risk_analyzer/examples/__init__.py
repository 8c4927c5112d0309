"""The worked examples of the README, with the output they print, to be run again anywhere."""

from __future__ import annotations

import contextlib
import io
import re
from dataclasses import dataclass
from importlib.resources import files

NAMES = ("rating", "outlier", "budget")
NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")


@dataclass(frozen=True)
class Example:
    """A worked example: its Markdown, the Python code in it and the output printed below the code."""

    name: str
    text: str
    code: str
    printed: str

    def run(self) -> str:
        """What the code prints here and now; up to half a minute on one core."""
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(self.code, {})  # noqa: S102  the code is a file of this package
        return out.getvalue()


def example(name: str) -> Example:
    """The example of this name, one of `NAMES`."""
    text = files(__name__).joinpath(f"{name}.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?)```\s+```text\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return Example(name, text, *found.groups())


def same(printed: str, expected: str) -> bool:
    """Whether two outputs have the same words and whole numbers, and nearly the same decimals.

    Processors sum in different orders: a decimal may differ by one unit of its last digit, or by 0.2 %.
    """
    if NUMBER.sub("#", printed) != NUMBER.sub("#", expected):
        return False
    pairs = zip(NUMBER.findall(printed), NUMBER.findall(expected), strict=True)
    return all(_near(first, second) for first, second in pairs)


def _near(first: str, second: str) -> bool:
    if not {".", "e"} & set(first + second):
        return first == second
    allowed = max(1.001 * _last_unit(second), 0.002 * abs(float(second)))
    return abs(float(first) - float(second)) <= allowed


def _last_unit(number: str) -> float:
    mantissa, _, exponent = number.partition("e")
    return float(10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2])))
