"""Whether two functions are the same computation, read from what Python compiled."""

from __future__ import annotations

import inspect
from types import FunctionType
from typing import Any


def same_code(one: Any, other: Any) -> bool:
    """Whether two functions run the same instructions on the same names.

    Model files of transformers hold copies of one norm or one attention under many names; a copy compiles
    to the same bytecode, with the same constants and the same names, and each global name means the same
    object or, again, a copy. Anything else, down to the order of two operations, is another function.
    """
    one, other = inspect.unwrap(one), inspect.unwrap(other)
    if not (isinstance(one, FunctionType) and isinstance(other, FunctionType)):
        return one is other
    if one is other:
        return True
    if _compiled(one) != _compiled(other) or one.__defaults__ != other.__defaults__:
        return False
    if one.__closure__ or other.__closure__:
        return False
    return all(_same_global(name, one, other) for name in one.__code__.co_names)


def _compiled(function: FunctionType) -> tuple[object, ...]:
    code = function.__code__
    arguments = (code.co_argcount, code.co_kwonlyargcount, code.co_flags)
    return code.co_code, code.co_names, code.co_consts, code.co_varnames, arguments


def _same_global(name: str, one: FunctionType, other: FunctionType) -> bool:
    """Names that are no globals of either are attributes, which the names themselves decide."""
    ours, theirs = one.__globals__.get(name), other.__globals__.get(name)
    if isinstance(ours, FunctionType) and isinstance(theirs, FunctionType):
        return same_code(ours, theirs)
    return ours is theirs
