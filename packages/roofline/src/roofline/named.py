"""A torch function named on the command line: `package.module:name` or `path/to/file.py:name`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mfi_command import BadInput, require


def is_named(text: str) -> bool:
    """Whether `text` names a function: `module:name` or `file.py:name`, and is not a path that exists."""
    place, mark, name = text.rpartition(":")
    return bool(mark and place and name.isidentifier()) and not Path(text).exists()


def named_function(text: str) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Call `name()` on the meta device; it returns a function and its arguments, as a tuple.

    Raises
    ------
    BadInput
        No such module, file or name, or it returns something else.
    """
    torch = require("torch", extra="torch", distribution="roofline")
    place, _, name = text.rpartition(":")
    module = _module(place)
    maker = getattr(module, name, None)
    if not callable(maker):
        raise BadInput(f"{place} has no function {name!r}; it should return (function, argument, ...)")
    with torch.device("meta"):
        made = maker()
    if not isinstance(made, tuple) or not made or not callable(made[0]):
        raise BadInput(
            f"{text}() returned {type(made).__name__}, expected a tuple (function, argument, ...),"
            " for example (torch.nn.Linear(8, 8), torch.empty(2, 8))"
        )
    return made[0], made[1:]


def _module(place: str) -> Any:
    if not place.endswith(".py"):
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError as error:
            raise BadInput(f"{place}: no such module ({error}); give module:name or file.py:name") from error
    path = Path(place)
    if not path.is_file():
        raise BadInput(f"{place}: no such file; give module:name or file.py:name")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise BadInput(f"{place}: cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except (SyntaxError, ImportError) as error:
        raise BadInput(f"{place}: cannot be imported ({error})") from error
    return module
