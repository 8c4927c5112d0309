"""The list of planted faults, and what many of them are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stable_ops.fp.rounding import round_to

Array = NDArray[Any]


@dataclass(frozen=True)
class Fault:
    """A wrong implementation of `op`, and what is wrong with it."""

    op: str
    name: str
    mistake: str
    function: Callable[..., Array]


FAULTS: list[Fault] = []


def of(op: str) -> list[Fault]:
    """The faults of one operator."""
    return [fault for fault in FAULTS if fault.op == op]


def fault(op: str, mistake: str) -> Callable[[Callable[..., Array]], Callable[..., Array]]:
    """Put a function on the list, under its name without the operator's."""

    def register(function: Callable[..., Array]) -> Callable[..., Array]:
        def quiet(*arguments: Any) -> Array:
            with np.errstate(all="ignore"):
                return function(*arguments)

        FAULTS.append(Fault(op, function.__name__.removeprefix(f"{op}_"), mistake, quiet))
        return quiet

    return register


def once(y: Any, x: Array) -> Array:
    """Rounded once, as the mistake is elsewhere."""
    return np.asarray(round_to(np.asarray(y, dtype=np.float64), x.dtype.name)).astype(x.dtype)


def twice(y: Any, x: Array) -> Array:
    """To float32 first, then to the dtype."""
    return np.asarray(np.asarray(y, dtype=np.float64).astype(np.float32).astype(x.dtype))


def wide(x: Array) -> NDArray[np.float64]:
    """The values in float64."""
    return x.astype(np.float64)


def sequential_sum(x: Array, dtype: Any) -> NDArray[np.float64]:
    """One running sum in that dtype."""
    return wide(np.add.accumulate(x.astype(dtype), axis=-1, dtype=dtype)[..., -1:])
