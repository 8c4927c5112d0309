"""Row by row over arrays of any size and layout: blocks that stay in cache, one block a core at a time."""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfi_command import BadInput
from stable_ops.arrays import Float64, Operand, round_into

# Elements in float64 at a time on each core (1 MiB): few enough for the outer cache, so many that the calls
# around them take a tenth of the time of softmax.
BLOCK_ELEMENTS = 2**17
# Below this a thread costs more than it brings.
_ELEMENTS_WORTH_A_THREAD = 2**17


class Workspace:
    """Arrays that one worker uses for block after block.

    The system takes large arrays back when they are freed; to touch new ones costs more than the arithmetic.
    """

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[Any]] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: Any = np.float64) -> NDArray[Any]:
        """The array of that name, with what the last use left in it; the first use is the largest."""
        count = math.prod(shape)
        if name not in self._arrays or self._arrays[name].size < count:
            self._arrays[name] = np.empty(count, dtype)
        return self._arrays[name][:count].reshape(shape)


RowFunction = Callable[[Float64, Workspace], Float64]


@dataclass(frozen=True)
class Loops:
    """The loops over float64 in which libraries differ in speed.

    Attributes
    ----------
    exp : callable
        `exp(x, out)`, to about (1 + |x|) ulp; `out` may be x.
    erfc : callable
        `erfc(x, out)`, to about two ulp; `out` may be x.
    wide : bool
        Whether the result stays in float64.
    """

    exp: Callable[[Float64, Float64], object]
    erfc: Callable[[Float64, Float64], object]
    wide: bool = False


def numpy_loops(*, wide: bool) -> Loops:
    """numpy's and SciPy's."""
    from scipy.special import erfc

    return Loops(exp=lambda x, out: np.exp(x, out=out), erfc=lambda x, out: erfc(x, out=out), wide=wide)


def map_rows(function: RowFunction, x: Operand, axis: int, *, reduces: bool = False) -> NDArray[Any]:
    """Apply a function of float64 rows `(m, n)` along an axis, a block of whole rows at a time.

    The function may overwrite its argument, which is in C order, and use the workspace. It answers `(m, n)`,
    or `(m,)` if it `reduces`; each block is rounded once to the format of x. Extra memory: at most eight
    blocks of `BLOCK_ELEMENTS` float64 (or of one row, if that is longer) on each core.
    """
    if x.values.ndim == 0 or not -x.values.ndim <= axis < x.values.ndim:
        raise BadInput(f"axis {axis} is not one of an array of shape {x.values.shape}: pass one that it has")
    rows = np.moveaxis(x.values, axis, -1)
    count, length = int(np.prod(rows.shape[:-1])), rows.shape[-1]
    read = reader(rows)
    out = np.empty(count if reduces else (count, length), dtype=x.values.dtype)
    step = max(1, BLOCK_ELEMENTS // max(1, length))

    def worker() -> Callable[[int], None]:
        spare = Workspace()

        def one(start: int) -> None:
            stop = min(start + step, count)
            block = spare.array("block", (stop - start, length))
            np.copyto(block, read(start, stop), casting="unsafe")
            round_into(out[start:stop], function(block, spare), x.format)

        return one

    share(worker, range(0, count, step), elements=count * length)
    if reduces:
        return out.reshape(rows.shape[:-1])
    return np.moveaxis(out.reshape(rows.shape), -1, axis)


def map_elements(function: Callable[..., Float64], *operands: Operand) -> NDArray[Any]:
    """Apply an elementwise function to operands of one shape; rounded once to the format of the first.

    The function takes a workspace and float64 blocks, which it may overwrite.
    """
    first = operands[0]
    readers = [_elements(operand.values) for operand in operands]
    out = np.empty(first.values.size, dtype=first.values.dtype)

    def worker() -> Callable[[int], None]:
        spare = Workspace()

        def one(start: int) -> None:
            stop = min(start + BLOCK_ELEMENTS, out.size)
            blocks = [spare.array(f"block {i}", (stop - start,)) for i in range(len(readers))]
            for block, read in zip(blocks, readers, strict=True):
                np.copyto(block, read(start, stop), casting="unsafe")
            round_into(out[start:stop], function(spare, *blocks), first.format)

        return one

    share(worker, range(0, out.size, BLOCK_ELEMENTS), elements=out.size)
    return out.reshape(first.values.shape)


def look_up(table: NDArray[np.uint16], codes: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """The entry of a table of 65,536 for each code."""
    read = _elements(codes)
    out = np.empty(codes.size, dtype=np.uint16)

    def one(start: int) -> None:
        stop = min(start + BLOCK_ELEMENTS, out.size)
        # No code is out of range; other modes than "clip" would check and buffer.
        np.take(table, read(start, stop), out=out[start:stop], mode="clip")

    share(lambda: one, range(0, out.size, BLOCK_ELEMENTS), elements=out.size)
    return out.reshape(codes.shape)


def share(
    make: Callable[[], Callable[[int], None]],
    starts: Iterable[int],
    *,
    elements: int,
    threads: int | None = None,
) -> None:
    """Call a worker for each start; workers on several threads (one a core) where the work is worth it.

    `make` is called once on each thread and answers its worker, which may own buffers. numpy lets go of the
    interpreter inside its loops, so the threads run side by side. No result depends on how starts are shared.
    """
    left = deque(starts)
    wanted = min(threads or cores(), len(left)) if elements >= _ELEMENTS_WORTH_A_THREAD else 1
    errors: list[BaseException] = []

    def work() -> None:
        try:
            # An error state belongs to the thread.
            with np.errstate(all="ignore"):
                worker = make()
                while left and not errors:
                    worker(left.popleft())
        except IndexError:
            if left:
                raise
        except BaseException as error:
            errors.append(error)

    others = [threading.Thread(target=work, daemon=True) for _ in range(wanted - 1)]
    for thread in others:
        thread.start()
    work()
    for thread in others:
        thread.join()
    if errors:
        raise errors[0]


def cores() -> int:
    """Cores this process may use: those of its affinity, at most OMP_NUM_THREADS where that is set."""
    try:
        available = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        available = os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(available, int(wanted)) if wanted.isdigit() and int(wanted) > 0 else available


def reader(rows: NDArray[Any]) -> Callable[[int, int], NDArray[Any]]:
    """Rows start to stop of an array `(..., n)` as `(stop - start, n)`, without a copy of the whole."""
    lead, length = rows.shape[:-1], rows.shape[-1]
    if not lead:
        return lambda start, stop: rows[None]
    if len(lead) == 1:
        return lambda start, stop: rows[start:stop]
    if rows.flags.c_contiguous:
        flat = rows.reshape(int(np.prod(lead)), length)
        return lambda start, stop: flat[start:stop]
    return lambda start, stop: np.asarray(rows[np.unravel_index(np.arange(start, stop), lead)])


def _elements(values: NDArray[Any]) -> Callable[[int, int], NDArray[Any]]:
    """Elements start to stop in C order, without a copy of the whole."""
    if values.ndim == 1 or values.flags.c_contiguous:
        flat = values.reshape(-1)
        return lambda start, stop: flat[start:stop]
    return lambda start, stop: np.asarray(values[np.unravel_index(np.arange(start, stop), values.shape)])
