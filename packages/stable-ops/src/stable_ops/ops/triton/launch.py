"""Starting a kernel that was started before, without looking up again what it was compiled for.

Triton finds a compiled kernel by the types, alignments and values of all arguments, some 20 us a call; the
callers here know by a short key that nothing of that has changed.
"""

# Triton's decorators and the language inside them carry no types.
# mypy: disable-error-code="no-untyped-call, no-any-return, import-untyped"

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

_compiled: dict[Hashable, Any] = {}


def start(
    kernel: Any,
    key: Hashable,
    programs: int,
    arguments: tuple[Any, ...],
    constants: dict[str, Any],
    **options: int,
) -> None:
    """Start so many programs of a kernel.

    Parameters
    ----------
    kernel : triton.JITFunction
    key : hashable
        Equal keys have an equal kernel, constants and options, and arguments of equal types that are alike
        divisible by 16 and below 2^31: what all that comes from, and the device.
    arguments, constants : tuple, dict
        The kernel's parameters, in its order: first those that are not constant.
    """
    compiled = _compiled.get(key)
    if compiled is None:
        _compiled[key] = kernel[(programs,)](*arguments, **constants, **options)
    else:
        compiled[(programs, 1, 1)](*arguments, *constants.values())
