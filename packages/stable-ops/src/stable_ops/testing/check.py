"""The trial that a kernel has to pass, ours or anybody's."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mfi_command import BadInput, require
from stable_ops.testing.inputs import KINDS, MASKED_KINDS, SHAPES, draw
from stable_ops.testing.oracles import ORACLES, truth
from stable_ops.testing.ulp import error_ulp, misrounded

Function = Callable[..., Any]
# Enough outputs that a second rounding, wrong once in 30,000, shows itself.
_MANY_16_BIT = 8192
_SLACK = 2.0**-20


@dataclass(frozen=True)
class Failure:
    """One thing wrong: in which case, of what sort, and the numbers."""

    case: str
    dtype: str
    sort: str
    detail: str


@dataclass(frozen=True)
class CheckReport:
    """What a trial found.

    Attributes
    ----------
    max_ulp : float
        Largest error over all cases, in ulp of the dtype (infinite for a wrong NaN or infinity).
    misrounded : float
        Share of the outputs that are not the nearest number to the truth.
    batch_invariant : bool
        Whether each row alone gave the bits that it gave in a batch.
    failures : tuple of Failure
    outputs : int
        Numbers compared.
    """

    against: str
    max_ulp: float
    misrounded: float
    batch_invariant: bool
    failures: tuple[Failure, ...]
    outputs: int

    def to_dict(self) -> dict[str, Any]:
        """The fields, as `stable-ops check --json` prints them."""
        return {**asdict(self), "failures": [asdict(f) for f in self.failures]}


@dataclass
class _Tally:
    limit: float
    max_ulp: float = 0.0
    wrong: int = 0
    outputs: int = 0


def check(
    function: Function,
    *,
    against: str,
    dtypes: Sequence[str] = ("float16", "float32"),
    max_ulp: float = 1.0,
    library: Literal["numpy", "torch"] = "numpy",
    on_progress: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Try a function on hard inputs against an oracle in longer arithmetic.

    Parameters
    ----------
    function : callable
        Called as f(x), or f(x, weight, bias) for layer_norm (eps 1e-5), f(x, weight) for rms_norm (eps
        1e-6), f(gate, up) for swiglu; with axis=-1 or dim=-1 if it has such a parameter.
    against : str
        A key of `ORACLES`.
    dtypes : sequence of str
        float16, float32, bfloat16 (needs ml_dtypes for numpy).
    max_ulp : float
        Allowed error; 0.5 demands correct rounding.
    library : {"numpy", "torch"}
        What the function is given.
    on_progress : callable, optional
        Called with (cases done, cases).

    Returns
    -------
    CheckReport
        Without `failures` if all cases passed: accuracy, NaN and infinities, shape and dtype, each row alone,
        inputs untouched, earlier results untouched.

    Raises
    ------
    BadInput
        An unknown operator or dtype. What the function raises is a failure, not an exception.
    """
    if against not in ORACLES:
        raise BadInput(f"no operator is named {against!r}: use one of {', '.join(ORACLES)}")
    cases = [case for dtype in dtypes for case in _cases(against, dtype)]
    call = _caller(function, library)
    tally, failures = _Tally(max_ulp), []
    for i, case in enumerate(cases, start=1):
        found = _try(call, case, ORACLES[against].floor, tally)
        failures += [Failure(case.name, case.dtype, *one) for one in found]
        if on_progress is not None:
            on_progress(i, len(cases))
    return CheckReport(
        against=against,
        max_ulp=tally.max_ulp,
        misrounded=tally.wrong / max(1, tally.outputs),
        batch_invariant=not any(f.sort == "batch" for f in failures),
        failures=tuple(failures),
        outputs=tally.outputs,
    )


@dataclass(frozen=True)
class _Case:
    name: str
    dtype: str
    arguments: tuple[NDArray[Any], ...]
    expected: NDArray[np.longdouble]


# Trials of several kernels against one operator share the oracle's work.
@functools.lru_cache(maxsize=4)
def _cases(op: str, dtype: str) -> tuple[_Case, ...]:
    numpy_type = _dtype(dtype)
    kinds = {**KINDS, **(MASKED_KINDS if op in ("softmax", "log_softmax", "logsumexp") else {})}
    drawn = [(kind, SHAPES[i % len(SHAPES)]) for i, kind in enumerate(kinds)]
    drawn += [("normal", shape) for shape in SHAPES] + [("tiny", (5, 128))]
    drawn.append(("normal", (_MANY_16_BIT if numpy_type.itemsize == 2 else 1024, 64)))
    cases = []
    for seed, (kind, shape) in enumerate(drawn):
        arguments = tuple(_argument(a, kind, seed, shape).astype(numpy_type) for a in ORACLES[op].arguments)
        name = f"{kind} {shape[0]}x{shape[1]}"
        cases.append(_Case(name, dtype, arguments, truth(op, *arguments)))
    return tuple(cases)


def _argument(name: str, kind: str, seed: int, shape: tuple[int, int]) -> NDArray[np.float64]:
    if name == "x":
        return draw(kind, seed, shape)
    if name == "up":
        return draw("normal", seed + 1000, shape)
    offset = 1.0 if name == "weight" else 0.0
    return offset + 0.5 * np.random.default_rng(seed + len(name)).standard_normal(shape[1])


def _try(call: Function, case: _Case, floor: float, tally: _Tally) -> list[tuple[str, str]]:
    arguments = [a.copy() for a in case.arguments]
    try:
        # A kernel may warn of overflow as much as it likes: what counts is its answer.
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            result = call(*arguments)
            first = result.copy()
            alone = call(*(a[-1:] if a.ndim == 2 else a for a in arguments))
            call(*(np.ones_like(a) for a in arguments))
    except Exception as error:  # whatever somebody's kernel raises is a finding
        return [("raises", f"{type(error).__name__}: {error}")]
    expected = case.expected
    if result.shape != expected.shape or result.dtype != arguments[0].dtype:
        return [("kind", f"{result.dtype} {result.shape} for {arguments[0].dtype} {expected.shape}")]
    found = _measure(first, expected, floor, tally)
    if not _same_bits(result, first):
        found.append(("stale", "a later call changed an earlier result"))
    if not all(_same_bits(a, b) for a, b in zip(arguments, case.arguments, strict=True)):
        found.append(("input", "the call changed its argument"))
    if not _same_bits(alone, first[-1:]):
        found.append(("batch", "the last row alone gives other bits than in the batch"))
    return found


def _measure(
    result: NDArray[Any], expected: NDArray[np.longdouble], floor: float, tally: _Tally
) -> list[tuple[str, str]]:
    errors = error_ulp(result, expected, floor=floor if result.dtype == np.float32 else 0.0)
    worst = float(errors.max(initial=0.0))
    tally.max_ulp = max(tally.max_ulp, worst)
    tally.wrong += int(misrounded(result, expected).sum())
    tally.outputs += result.size
    if worst <= tally.limit + _SLACK:
        return []
    i = np.unravel_index(int(errors.argmax()), errors.shape)
    return [("accuracy", f"{worst:.4g} ulp: {float(result[i])!r} where {float(expected[i])!r} is expected")]


def _same_bits(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and bool(np.array_equal(a, b, equal_nan=True))


def _caller(function: Function, library: str) -> Function:
    try:
        parameters = set(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        parameters = set()  # built in: torch's functions name the axis "dim"
        if library == "torch":
            return lambda *a: _numpy_of(_with_dim(function, [_tensor_of(x) for x in a]), a[0].dtype)
    axis = {name: -1 for name in ("axis", "dim") if name in parameters}
    if library == "numpy":
        return lambda *a: np.asarray(function(*a, **axis))
    return lambda *a: _numpy_of(function(*(_tensor_of(x) for x in a), **axis), a[0].dtype)


def _with_dim(function: Function, arguments: list[Any]) -> Any:
    try:
        return function(*arguments, dim=-1)
    except TypeError:
        return function(*arguments)


def _tensor_of(x: NDArray[Any]) -> Any:
    torch = require("torch", extra="torch", distribution="mfi-stable-ops")
    if x.dtype.name == "bfloat16":
        return torch.from_numpy(x.astype(np.float32)).to(torch.bfloat16)
    return torch.from_numpy(x)  # shares memory: a kernel that writes its input is found


def _numpy_of(result: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    name = str(result.dtype).removeprefix("torch.")
    host = result.detach().cpu()
    array = np.asarray((host.float() if name == "bfloat16" else host).numpy())
    return array.astype(dtype) if name == dtype.name == "bfloat16" else array


def _dtype(name: str) -> np.dtype[Any]:
    if name in ("float16", "float32"):
        return np.dtype(name)
    if name == "bfloat16":
        ml_dtypes = require("ml_dtypes", extra="testing", distribution="mfi-stable-ops")
        bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    raise BadInput(f"dtype {name!r} is not tried: use float16, bfloat16 or float32")
