"""What a user gave wrong, as opposed to what we did wrong."""

from __future__ import annotations

import importlib
from types import ModuleType


class BadInput(ValueError):
    """The user's input cannot be used; one line says what was given, what was expected, what to do.

    A command turns it into that line on stderr and exit code 2; every other exception is taken for a bug.
    """


def require(module: str, *, extra: str, distribution: str) -> ModuleType:
    """Import an optional dependency.

    Parameters
    ----------
    module
        Dotted name of the module to import.
    extra, distribution
        Where the dependency is declared; they make up the advice.

    Returns
    -------
    ModuleType
        The imported module.

    Raises
    ------
    BadInput
        If the module is not installed; the message is the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        # A module that is there but misses a dependency of its own is broken, not absent.
        if missing.name is None or missing.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise BadInput(
            f"this needs {module}, which is not installed: pip install '{distribution}[{extra}]'"
        ) from missing
