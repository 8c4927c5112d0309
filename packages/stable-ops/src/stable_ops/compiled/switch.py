"""Whether the compiled loops are used: only where a program has asked for them."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from mfi_command import require

_modules: tuple[ModuleType, ...] = ()


def accelerate(on: bool = True) -> None:
    """Let numba compile the operators' loops on a CPU: the softmax family, norms, gelu, silu, swiglu.

    Parameters
    ----------
    on : bool
        False goes back to numpy's and torch's loops.

    Notes
    -----
    For numpy arrays and CPU tensors of float32, float16 and bfloat16, from the next call on. The first call
    on a machine compiles for some seconds and keeps the result on disk. All is computed in float64 and
    rounded once, as without it, with the tiers of the operators: before that rounding sums are off by at most
    :math:`2^{-44}` relative, in vectors :math:`2^{-46}`, of any length, exponentials by :math:`(2 + |x_i -
    m|)\\,2^{-53}`, so results can differ only where the exact value lies that close to a tie. The float32
    arithmetic in a logsumexp of 16 bits counts only where both ends of its error round to one number. Extra
    memory: at most two float64 rows a core.

    Raises
    ------
    BadInput
        numba is not installed.

    Examples
    --------
    >>> import stable_ops
    >>> stable_ops.accelerate(False)
    """
    global _modules
    if not on:
        _modules = ()
        return
    require("numba", extra="compiled", distribution="mfi-stable-ops")
    from stable_ops.compiled import elements, rows

    _modules = (rows, elements)


def active() -> bool:
    """Whether compiled loops are to be used."""
    return bool(_modules)


def kernel(name: str) -> Callable[..., None]:
    """The compiled loops of an operator."""
    (found,) = (getattr(module, name) for module in _modules if hasattr(module, name))
    return found  # type: ignore[no-any-return]
