"""Whether the compiled loops are used: only where a program has asked for them."""

from __future__ import annotations

from types import ModuleType

from mfi_command import require

_kernels: ModuleType | None = None


def accelerate(on: bool = True) -> None:
    """Let numba compile the loops of softmax, log_softmax, logsumexp, layer_norm and rms_norm for the CPU.

    Parameters
    ----------
    on : bool
        False goes back to numpy's and torch's loops.

    Notes
    -----
    For numpy arrays and CPU tensors of float32, float16 and bfloat16, from the next call on. The
    first call on a machine compiles for some seconds and keeps the result on disk. All is computed in
    float64 and rounded once, as without it, with the tiers and bounds of the operators: results can differ
    only where a tie lies between two float64 sums of another order. The float32 arithmetic in a logsumexp of
    16 bits counts only where both ends of its error round to one number. Extra memory: at most two float64
    rows a core.

    Raises
    ------
    BadInput
        numba is not installed.

    Examples
    --------
    >>> import stable_ops
    >>> stable_ops.accelerate(False)
    """
    global _kernels
    if not on:
        _kernels = None
        return
    require("numba", extra="compiled", distribution="mfi-stable-ops")
    from stable_ops.compiled import rows

    _kernels = rows


def kernels() -> ModuleType | None:
    """The module of compiled rows, if they are to be used."""
    return _kernels
