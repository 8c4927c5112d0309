"""Launches without the compiler's own look-up, which inspects every argument of every call.

What Triton compiles depends on the constants, the types of the arguments, and whether pointers and integers
are multiples of 16. The callers' pointers always are; the rest belongs to the key under which they keep a
`Launch`.
"""

from __future__ import annotations

from typing import Any

# Numbers of programs remembered for each kernel.
_RUNNERS = 256


class Launch:
    """A kernel with its constants, in the order of its signature after the arguments.

    One for each device and each set of types and integers that are not marked `do_not_specialize`.
    """

    __slots__ = ("_compiled", "_constants", "_kernel", "_runners", "_settings", "_values")

    def __init__(self, kernel: Any, *, warps: int, registers: int | None = None, **constants: Any) -> None:
        self._kernel, self._constants = kernel, constants
        self._settings = {"num_warps": warps} | ({"maxnreg": registers} if registers else {})
        self._values = tuple(constants.values())
        self._compiled: Any = None
        self._runners: dict[int, Any] = {}

    def __call__(self, programs: int, *arguments: Any) -> None:
        """Run that many programs on the current stream of the current device."""
        runner = self._runners.get(programs)
        if runner is None:
            self._start(programs, arguments)
        else:
            runner(*arguments, *self._values)

    def _start(self, programs: int, arguments: tuple[Any, ...]) -> None:
        if self._compiled is None:
            # The interpreter answers None, and is asked again.
            self._compiled = self._kernel[(programs,)](*arguments, **self._constants, **self._settings)
            return
        if len(self._runners) == _RUNNERS:
            self._runners.clear()
        self._runners[programs] = self._compiled[(programs, 1, 1)]
        self._runners[programs](*arguments, *self._values)
