"""Arithmetic over columns, and everything that is not."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfi_command import BadInput
from mm1_planner import evaluate
from mm1_planner.expression import column_names

COLUMNS = {"x": np.array([1.0, 2.0, 4.0]), "GeneratedTokens": np.array([10.0, 20.0, 0.0])}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.05 + 0.02*GeneratedTokens", [0.25, 0.45, 0.05]),
        ("x", [1, 2, 4]),
        ("2", [2, 2, 2]),
        ("-x + 2*x**2 - -1", [2, 7, 29]),
        ("max(x, 2) / min(x, 2)", [2, 1, 2]),
        ("sqrt(x*x) + log(exp(1)) + ceil(0.2) + floor(1.9)", [4, 5, 7]),
        ("(x + 1) * 1e-3", [0.002, 0.003, 0.005]),
    ],
)
def test_values(text: str, expected: list[float]) -> None:
    np.testing.assert_allclose(evaluate(text, COLUMNS, rows=3), expected, rtol=1e-15)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch /tmp/owned')",
        "open('/etc/passwd').read()",
        "x.__class__.__mro__",
        "(lambda: x)()",
        "[x for x in (1,)]",
        "x if x else 1",
        "x == x",
        "'a' * 10",
        "x[0]",
        "f'{x}'",
        "x := 2",
        "x; x",
        "exec('1')",
        "max(x)",
        "max(*x)",
        "sqrt(x, out=x)",
        "sqrt",
        "True + x",
        "1j * x",
        "9**9**9**9",
        "9" * 299 + "**2",
        "1" * 301,
        "1 +",
        "",
        "   ",
        "x\x00",
        "nan",
        "1/0 + x",
        "x - 3",
        "log(x - 2)",
        "no_such_column",
    ],
)
def test_everything_else_is_one_line(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        evaluate(text, COLUMNS, rows=3)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["1" * 299, "(" * 150 + "x" + ")" * 149 + ")", "-" * 298 + "x"])
def test_absurd_arithmetic_is_a_number_or_one_line(text: str) -> None:
    with contextlib.suppress(BadInput):
        assert np.all(np.isfinite(evaluate(text, COLUMNS, rows=3)))


def test_names_are_found_in_order() -> None:
    assert column_names("b + max(a, b)*sqrt(c)") == ["b", "a", "c"]


def test_a_missing_column_names_those_there() -> None:
    with pytest.raises(BadInput, match="no column 'y'; there are x, GeneratedTokens"):
        evaluate("x + y", COLUMNS, rows=3)


def test_a_negative_second_names_its_row() -> None:
    with pytest.raises(BadInput, match="row 3"):
        evaluate("3 - x", COLUMNS, rows=3)


@given(a=st.floats(0, 1e3), b=st.floats(0, 1e3), c=st.floats(1e-3, 1e3))
def test_precedence_is_pythons(a: float, b: float, c: float) -> None:
    text = f"{a!r} + {b!r}*x/{c!r}"
    np.testing.assert_array_equal(evaluate(text, COLUMNS, rows=3), a + b * COLUMNS["x"] / c)
