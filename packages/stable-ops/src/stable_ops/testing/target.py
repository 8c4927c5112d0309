"""Finding the function that a command line names, and saying what it raised."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mfi_command import BadInput


def load_function(name: str) -> Callable[..., Any]:
    """Import "module:function"; the current directory counts as a place for modules.

    Raises
    ------
    BadInput
        No colon, no such module or function, a module that fails when imported.
    """
    module_name, colon, attribute = name.partition(":")
    if not (colon and module_name and attribute):
        raise BadInput(f"{name!r} names no function: write module:function, as in scipy.special:softmax")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:  # the module is not ours: whatever it raises is bad input
        message = in_one_line(error)
        raise BadInput(f"module {module_name!r} cannot be imported: {message}") from error
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise BadInput(f"module {module_name!r} has no function {attribute!r}: check its spelling")
    function: Callable[..., Any] = found
    return function


def in_one_line(error: Exception) -> str:
    """An exception of somebody's code, its line breaks as spaces."""
    return " ".join(f"{type(error).__name__}: {error}".split())
