"""The trial that a kernel has to pass, ours or anybody's."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfi_command import BadInput, require
from stable_ops.testing.inputs import KINDS, MASKED_KINDS, SHAPES, draw
from stable_ops.testing.library import Function, Library, along_rows, library
from stable_ops.testing.oracles import ORACLES
from stable_ops.testing.rounded import Rounded, correctly_rounded
from stable_ops.testing.samplers import SAMPLERS, try_sampler
from stable_ops.testing.target import in_one_line
from stable_ops.testing.ulp import error_ulp

# Enough outputs that a second rounding, wrong once in 30,000, shows itself.
_MANY_16_BIT = 8192
_SLACK = 2.0**-20
# Launch heuristics change with the number of rows, often at a power of two.
_BATCH = 2048
_BATCHES = (1, 2, 3, 8, 31, 64, 127, 128, 255, 256, 257, 511, 512, 513, 1024, 2047)
_BATCH_ROW = 200
_BATCHES_CASE = "batches"


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
        Whether a row gave the same bits alone, in batches of 1 to 2048 rows, and at another place of them.
    failures : tuple of Failure
    outputs : int
        Numbers compared.
    near, unsettled : int
        Outputs whose truth lies within :math:`2^{-40}` of a tie; those of them that ball arithmetic did not
        settle, as python-flint is missing, and which are not counted as misrounded.
    """

    against: str
    max_ulp: float
    misrounded: float
    batch_invariant: bool
    failures: tuple[Failure, ...]
    outputs: int
    near: int = 0
    unsettled: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The fields, as `stable-ops check --json` prints them."""
        return {**asdict(self), "failures": [asdict(f) for f in self.failures]}


@dataclass
class _Tally:
    limit: float
    max_ulp: float = 0.0
    wrong: int = 0
    outputs: int = 0
    near: int = 0
    unsettled: int = 0


def check(
    function: Function,
    *,
    against: str,
    dtypes: Sequence[str] = ("float16", "float32"),
    max_ulp: float = 1.0,
    library: str = "numpy",
    device: str = "cpu",
    max_failures: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Try a function on hard inputs against an oracle in longer arithmetic, settled by ball arithmetic.

    Parameters
    ----------
    function : callable
        Called as f(x), or f(x, weight, bias) for layer_norm (eps 1e-5), f(x, weight) for the rms_norms (eps
        1e-6), f(gate, up) for swiglu, f(probabilities, p) for nucleus, f(logits, k, p, seed) for sample; with
        axis=-1 or dim=-1 if it has such a parameter.
    against : str
        A key of `stable_ops.testing.oracles.ORACLES`, or of `stable_ops.testing.samplers.SAMPLERS`.
    dtypes : sequence of str
        float16, float32, bfloat16 (needs ml_dtypes).
    max_ulp : float
        Allowed error; 0.5 demands correct rounding.
    library : str
        What the function is given: "numpy" or "torch".
    device : str
        Where tensors lie: "cpu", "cuda", "cuda:1".
    max_failures : int, optional
        Stop after the case with so many failures; the numbers are those of the cases done.
    on_progress : callable, optional
        Called with (cases done, cases).

    Returns
    -------
    CheckReport
        Without `failures` if all cases passed: accuracy, NaN and infinities, shape and dtype, the same bits
        in batches of 1 to 2048 rows and in other memory layouts, inputs and earlier results untouched.

    Raises
    ------
    BadInput
        An unknown operator, dtype, library or device. What the function raises is a failure of the trial.
    """
    given = _library(library, device)
    if against in SAMPLERS:
        tried, found = try_sampler(function, against, given, on_progress)
        failures = [Failure(*one) for one in found]
        return CheckReport(against, 0.0, 0.0, _invariant(failures), tuple(failures), tried)
    if against not in ORACLES:
        names = ", ".join([*ORACLES, *SAMPLERS])
        raise BadInput(f"no operator is named {against!r}: use one of {names}")
    tally, failures = _Tally(max_ulp), []
    call = along_rows(function, given)
    trials = [(name, dtype) for dtype in dtypes for name in (*_drawn(_dtype(dtype), against), _BATCHES_CASE)]
    for i, (name, dtype) in enumerate(trials, start=1):
        if name == _BATCHES_CASE:
            sorts = _batches(call, against, dtype, given)
        else:
            sorts = _try(call, _case(against, dtype, name), given, against, tally)
        failures += [Failure(name, dtype, *one) for one in sorts]
        if on_progress is not None:
            on_progress(i, len(trials))
        if max_failures is not None and len(failures) >= max_failures:
            break
    return CheckReport(
        against=against,
        max_ulp=tally.max_ulp,
        misrounded=tally.wrong / max(1, tally.outputs),
        batch_invariant=_invariant(failures),
        failures=tuple(failures),
        outputs=tally.outputs,
        near=tally.near,
        unsettled=tally.unsettled,
    )


# The parameter `library` of `check` hides the function of that name.
_library = library


def _invariant(failures: Sequence[Failure]) -> bool:
    return not any(f.sort == "batch" for f in failures)


@dataclass(frozen=True)
class _Case:
    name: str
    dtype: str
    arguments: tuple[NDArray[Any], ...]
    expected: Rounded


def _drawn(dtype: np.dtype[Any], op: str) -> dict[str, tuple[int, str, tuple[int, int]]]:
    """The cases by name: seed, kind, shape."""
    drawn = [(kind, SHAPES[i % len(SHAPES)]) for i, kind in enumerate(KINDS)]
    if op in ("softmax", "log_softmax", "logsumexp"):
        drawn += [(kind, (5, 128)) for kind in MASKED_KINDS]
    drawn += [("normal", shape) for shape in SHAPES] + [("tiny", (5, 128))]
    drawn.append(("normal", (_MANY_16_BIT if dtype.itemsize == 2 else 1024, 64)))
    return {f"{kind} {m}x{n}": (seed, kind, (m, n)) for seed, (kind, (m, n)) in enumerate(drawn)}


# Trials of several kernels against one operator share the oracle's work.
@functools.lru_cache(maxsize=80)
def _case(op: str, dtype: str, name: str) -> _Case:
    numpy_type = _dtype(dtype)
    seed, kind, shape = _drawn(numpy_type, op)[name]
    arguments = tuple(_argument(a, kind, seed, shape).astype(numpy_type) for a in ORACLES[op].arguments)
    return _Case(name, dtype, arguments, correctly_rounded(op, *arguments))


def _argument(name: str, kind: str, seed: int, shape: tuple[int, int]) -> NDArray[np.float64]:
    if name == "x":
        return draw(kind, seed, shape)
    if name == "up":
        return draw("normal", seed + 1000, shape)
    offset = 1.0 if name == "weight" else 0.0
    return offset + 0.5 * np.random.default_rng(seed + len(name)).standard_normal(shape[1])


def _try(call: Function, case: _Case, given: Library, op: str, tally: _Tally) -> Iterator[tuple[str, str]]:
    """What is wrong in one case: its sort and the detail."""
    arguments = [given.give(a) for a in case.arguments]
    try:
        # A kernel may warn of overflow as much as it likes: what counts is its answer.
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            result = call(*arguments)
            first = given.take(result)
            alone = given.take(call(*(given.give(a[-1:] if a.ndim == 2 else a) for a in case.arguments)))
            strided = given.take(call(*(given.give(a, "strided") for a in case.arguments)))
            columns = given.take(call(*(given.give(a, "transposed") for a in case.arguments)))
            call(*(given.give(np.ones_like(a)) for a in case.arguments))
            later, untouched = given.take(result), [given.take(a) for a in arguments]
    except Exception as error:  # whatever somebody's kernel raises is a finding
        yield "raises", in_one_line(error)
        return
    x, expected = case.arguments[0], case.expected
    if first.shape != expected.values.shape or first.dtype != x.dtype:
        yield "kind", f"{first.dtype} {first.shape} for {x.dtype} {expected.values.shape}"
        return
    yield from _measure(first, expected, ORACLES[op].floor, tally)
    if not _same_bits(later, first):
        yield "stale", "a later call changed an earlier result"
    if not all(_same_bits(a, b) for a, b in zip(untouched, case.arguments, strict=True)):
        yield "input", "the call changed its argument"
    if not _same_bits(alone, first[-1:]):
        yield "batch", "the last row alone gives other bits than in the batch"
    for other, layout in ((strided, "every second column of a wider array"), (columns, "its transpose")):
        if not _same_bits(other, first):
            yield "layout", f"other bits where the input is {layout}"


def _batches(call: Function, op: str, dtype: str, given: Library) -> Iterator[tuple[str, str]]:
    """Rows in batches of many sizes, at their old place and at a new one."""
    shape = (_BATCH, _BATCH_ROW)
    arguments = [_argument(a, "normal", 7, shape).astype(_dtype(dtype)) for a in ORACLES[op].arguments]

    def rows(part: slice) -> NDArray[Any]:
        return given.take(call(*(given.give(a[part] if a.ndim == 2 else a) for a in arguments)))

    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            whole = rows(slice(None))
            for size in _BATCHES:
                for part in (slice(0, size), slice(_BATCH - size, _BATCH)):
                    if not _same_bits(rows(part), whole[part]):
                        yield "batch", f"{size} rows give other bits than among {_BATCH}"
                        return
    except Exception as error:  # as above
        yield "raises", in_one_line(error)


def _measure(
    result: NDArray[Any], expected: Rounded, floor: float, tally: _Tally
) -> Iterator[tuple[str, str]]:
    errors = error_ulp(result, expected.truth, floor=floor if result.dtype == np.float32 else 0.0)
    wrong = expected.wrong(result)
    worst = float(errors.max(initial=0.0))
    tally.max_ulp = max(tally.max_ulp, worst)
    tally.wrong += int(wrong.sum())
    tally.outputs += result.size
    tally.near += expected.near
    tally.unsettled += int(expected.open.sum())
    if worst > tally.limit + _SLACK:
        i = np.unravel_index(int(errors.argmax()), errors.shape)
        right = float(expected.truth[i])
        yield "accuracy", f"{worst:.4g} ulp: {float(result[i])!r} where {right!r} is expected"
    elif tally.limit <= 0.5 and wrong.any():
        # Beside a tie both neighbours are half an ulp off, and only one is right.
        i = np.unravel_index(int(wrong.argmax()), wrong.shape)
        right = float(expected.values[i])
        yield "rounding", f"{int(wrong.sum())} not the nearest: {float(result[i])!r}, not {right!r}"


def _same_bits(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and bool(np.array_equal(a, b, equal_nan=True))


def _dtype(name: str) -> np.dtype[Any]:
    if name in ("float16", "float32"):
        return np.dtype(name)
    if name == "bfloat16":
        ml_dtypes = require("ml_dtypes", extra="testing", distribution="mfi-stable-ops")
        bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    raise BadInput(f"dtype {name!r} is not tried: use float16, bfloat16 or float32")
