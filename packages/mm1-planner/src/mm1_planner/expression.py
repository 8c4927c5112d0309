"""Arithmetic over the columns of a trace, read from its syntax tree: nothing given is ever executed."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping

import numpy as np

from mfi_command import BadInput

_LONGEST = 300
_ALLOWED = "expected numbers, column names, + - * / ** and min max sqrt log exp ceil floor"

_BINARY: dict[type[ast.operator], Callable[..., np.ndarray]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
}
_UNARY: dict[type[ast.unaryop], Callable[..., np.ndarray]] = {ast.UAdd: np.positive, ast.USub: np.negative}
_FUNCTIONS: dict[str, tuple[int, Callable[..., np.ndarray]]] = {
    "min": (2, np.minimum),
    "max": (2, np.maximum),
    "sqrt": (1, np.sqrt),
    "log": (1, np.log),
    "exp": (1, np.exp),
    "ceil": (1, np.ceil),
    "floor": (1, np.floor),
}


def column_names(text: str) -> list[str]:
    """Names of the columns that an expression uses, in order of first use."""
    walked = [node for node in ast.walk(_parse(text)) if isinstance(node, ast.Name)]
    return list(dict.fromkeys(node.id for node in walked if node.id not in _FUNCTIONS))


def evaluate(text: str, columns: Mapping[str, np.ndarray], *, rows: int) -> np.ndarray:
    """The value of an expression for each row, float64 (rows,).

    Parameters
    ----------
    text : str
        Such as `0.05 + 0.02*GeneratedTokens`.
    columns : mapping
        Name to float64 (rows,).
    rows : int
        Length of the answer, also where the expression is a constant.

    Raises
    ------
    BadInput
        If the text is no such arithmetic, a column is missing, or a value is negative or not finite; the
        message names the first row where it is.

    Examples
    --------
    >>> evaluate("0.5 + 2*x", {"x": np.array([1.0, 2.0])}, rows=2)
    array([2.5, 4.5])
    """
    tree = _parse(text)
    with np.errstate(all="ignore"):
        values = np.broadcast_to(_value(tree, columns), (rows,)).astype(np.float64)
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if wrong.size:
        row = int(wrong[0])
        raise BadInput(f"{text!r} is {values[row]:g} in row {row + 1}; expected finite seconds, not negative")
    return values


def _parse(text: str) -> ast.expr:
    if len(text) > _LONGEST:
        raise BadInput(f"expression of {len(text)} characters; expected at most {_LONGEST}")
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise BadInput(f"expression {text!r} is not arithmetic; {_ALLOWED}") from None


def _value(node: ast.expr, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    match node:
        case ast.Constant(value=float() | int() as number) if not isinstance(number, bool):
            return np.float64(_as_float(number))  # type: ignore[return-value]
        case ast.Name(id=name) if name in columns:
            return columns[name]
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _BINARY:
            return _BINARY[type(operator)](_value(left, columns), _value(right, columns))
        case ast.UnaryOp(op=sign, operand=operand) if type(sign) in _UNARY:
            return _UNARY[type(sign)](_value(operand, columns))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            count, function = _FUNCTIONS[name]
            if len(arguments) == count:
                return function(*(_value(argument, columns) for argument in arguments))
    if isinstance(node, ast.Name):
        raise BadInput(f"no column {node.id!r}; there are {', '.join(columns) or 'none'}")
    raise BadInput(f"{ast.unparse(node)[:60]!r} is not allowed in an expression; {_ALLOWED}")


def _as_float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        raise BadInput(
            f"a number of {len(str(number))} digits in the expression; 1e308 is the most"
        ) from None
