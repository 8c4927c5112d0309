"""Many sizes of one model at once, as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latency_predictor.prediction import engine_for
from mfi_command import BadInput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from latency_predictor.engine import Engine

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """Predictions of many sizes of one model, as arrays of one length; seconds and bytes."""

    batch: Floats
    prompt: Floats
    output: Floats
    prefill_s: Floats
    prefill_low_s: Floats
    prefill_high_s: Floats
    decode_step_s: Floats
    decode_step_low_s: Floats
    decode_step_high_s: Floats
    memory_bytes: Floats
    fits: NDArray[np.bool_]

    @property
    def total_s(self) -> Floats:
        """Seconds until the last token."""
        return self.prefill_s + (self.output - 1) * self.decode_step_s

    @property
    def tokens_per_s(self) -> Floats:
        """Generated tokens a second, all sequences together."""
        return self.batch * self.output / self.total_s


def predict_many(
    model: str | Path | Mapping[str, Any],
    *,
    batch: Any,
    prompt: Any,
    output: Any = 128,
    **options: Any,
) -> Grid:
    """Predict many sizes of one model at once.

    Parameters
    ----------
    batch, prompt, output
        Whole numbers or arrays of them that broadcast together.
    options
        `device`, `stack` and what else `predict` takes.

    Returns
    -------
    Grid
        Arrays in the broadcast order; `fits` is False where the device's memory does not hold it.

    Raises
    ------
    BadInput
        What `predict` refuses, but for the memory, or a size that is no whole number above zero.

    Examples
    --------
    >>> from latency_predictor import predict_many
    >>> grid = predict_many("llama-3-8b", device="H200", batch=[1, 8, 64], prompt=512)
    >>> bool((grid.tokens_per_s[1:] > grid.tokens_per_s[:-1]).all())
    True
    """
    import numpy as np

    engine = engine_for(model, **options)
    arrays = {}
    for name, value in (("batch", batch), ("prompt", prompt), ("output", output)):
        array = np.asarray(value)
        if array.dtype.kind not in "iu" or array.size == 0 or array.min() < 1 or array.max() > 10**12:
            raise BadInput(f"{name}: expected whole numbers between 1 and 10^12, {array.size} were given")
        arrays[name] = array.astype(float).ravel() if array.ndim else array.astype(float)
    made = np.broadcast_arrays(*(np.atleast_1d(array) for array in arrays.values()))
    return grid_with(engine, *made)


def grid_with(engine: Engine, batch: Floats, prompt: Floats, output: Floats) -> Grid:
    """`predict_many` for an engine that stands."""
    import numpy as np

    from latency_predictor.pass_time import Sizes

    def run(keys: Floats, queries: Floats, phase: str) -> NDArray[np.float64]:
        operators = engine.operators(Sizes(batch, queries, keys), phase)
        seconds = engine.seconds(operators, phase)
        return np.stack((seconds, *engine.ends(operators, seconds, phase)))

    one = np.ones_like(batch)
    first, last = prompt + 1, prompt + np.maximum(1, output - 1)
    before = run(prompt, prompt, "prefill")
    steps = [run(keys, one, "decode") for keys in (first, (first + last) // 2, last)]
    step = (steps[0] + 4 * steps[1] + steps[2]) / 6
    memory = engine.work.memory_bytes(batch, last)
    most = engine.device.memory_bytes
    fits = np.full(len(batch), True) if most is None else memory <= most
    return Grid(
        batch=batch,
        prompt=prompt,
        output=output,
        prefill_s=before[0],
        prefill_low_s=before[1],
        prefill_high_s=before[2],
        decode_step_s=step[0],
        decode_step_low_s=step[1],
        decode_step_high_s=step[2],
        memory_bytes=memory,
        fits=fits,
    )
