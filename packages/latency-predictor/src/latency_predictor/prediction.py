"""How long a request takes: prefill, decode steps, and the interval that held-out measurements gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfi_command import BadInput
from roofline import Device
from roofline.arguments import positive

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from latency_predictor.engine import Engine
    from latency_predictor.stacks import Stack

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """Seconds of one operator in a phase; "stack" is what the stack adds to the sum of them."""

    phase: str
    name: str
    count: int
    time_s: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"phase": self.phase, "name": self.name, "count": self.count, "time_s": self.time_s}


@dataclass(frozen=True)
class Phase:
    """A phase with its 90 % interval, seconds, and its parts."""

    time_s: float
    low_s: float
    high_s: float
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Prediction:
    """Latency of one batch of equal requests.

    Attributes
    ----------
    prefill_s
        All prompts at once, until the first token: the TTFT of an idle server.
    decode_step_s
        Mean over the steps that follow; a step makes one token for every sequence.
    total_s, low_s, high_s
        prefill_s + (output - 1) * decode_step_s with its 90 % interval.
    breakdown
        Seconds by operator, of the prefill and of a step in the middle of the answer.
    provenance
        Where coefficients and interval come from.
    memory_bytes
        Weights and cache of each device at the last token; activations are not counted.
    """

    model: str
    device: str
    stack: str
    batch: int
    prompt: int
    output: int
    prefill: Phase
    decode: Phase
    memory_bytes: int
    provenance: str
    notes: tuple[str, ...]
    tensor_parallel: int = 1

    @property
    def prefill_s(self) -> float:
        """Seconds until the first token."""
        return self.prefill.time_s

    @property
    def decode_step_s(self) -> float:
        """Seconds of a mean decode step."""
        return self.decode.time_s

    @property
    def total_s(self) -> float:
        """Seconds until the last token."""
        return self._total("time_s")

    @property
    def low_s(self) -> float:
        """Lower end of the 90 % interval of `total_s`; both phases are taken to be off in the same
        direction.
        """
        return self._total("low_s")

    @property
    def high_s(self) -> float:
        """Upper end of the same."""
        return self._total("high_s")

    @property
    def tokens_per_s(self) -> float:
        """Generated tokens a second, all sequences together, prefill included."""
        return self.batch * self.output / self.total_s

    @property
    def breakdown(self) -> tuple[Part, ...]:
        """Parts of both phases."""
        return self.prefill.parts + self.decode.parts

    def _total(self, which: str) -> float:
        return float(getattr(self.prefill, which) + (self.output - 1) * getattr(self.decode, which))

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "model": self.model,
            "device": self.device,
            "tensor_parallel": self.tensor_parallel,
            "stack": self.stack,
            "prefill_s": self.prefill_s,
            "prefill_low_s": self.prefill.low_s,
            "prefill_high_s": self.prefill.high_s,
            "decode_step_s": self.decode_step_s,
            "decode_step_low_s": self.decode.low_s,
            "decode_step_high_s": self.decode.high_s,
            "total_s": self.total_s,
            "low_s": self.low_s,
            "high_s": self.high_s,
            "tokens_per_s": self.tokens_per_s,
            "breakdown": [part.to_dict() for part in self.breakdown],
            "memory_bytes": self.memory_bytes,
            "feasible": True,
            "provenance": self.provenance,
            "notes": list(self.notes),
        }


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


def engine_for(
    model: str | Path | Mapping[str, Any],
    *,
    device: str | Path | Device,
    stack: str | Stack = "cuda-graph",
    dtype: str = "bf16",
    weight_dtype: str | None = None,
    kv_dtype: str | None = None,
    tensor_parallel: int = 1,
    fit: str | Path | None = None,
) -> Engine:
    """Everything but the sizes, decided once; arguments as for `predict`."""
    from latency_predictor.engine import Engine, chosen_for, interval_of
    from latency_predictor.stacks import PHASES, find_stack
    from latency_predictor.work import model_work
    from roofline import device as find_device

    own: dict[str, Any] = {}
    if fit is not None:
        from latency_predictor.fitfile import load

        own = load(fit)
    hardware = own.get("hardware") or find_device(device)
    chosen = own.get("chosen") or chosen_for(hardware.name)
    wanted = own["stacks"].get(stack) if isinstance(stack, str) and "stacks" in own else None
    made = wanted or find_stack(stack)
    intervals = own.get("intervals", {}).get(made.name)
    return Engine(
        work=model_work(
            model,
            dtype=dtype,
            weight_dtype=weight_dtype,
            kv_dtype=kv_dtype,
            fused=made.fused,
            parts=tensor_parallel,
        ),
        device=hardware,
        stack=made,
        chosen=chosen,
        interval=intervals or {phase: interval_of(made.name, phase, known=chosen.known) for phase in PHASES},
    )


def predict(
    model: str | Path | Mapping[str, Any],
    *,
    device: str | Path | Device,
    batch: int = 1,
    prompt: int = 512,
    output: int = 128,
    stack: str | Stack = "cuda-graph",
    dtype: str = "bf16",
    weight_dtype: str | None = None,
    kv_dtype: str | None = None,
    tensor_parallel: int = 1,
    fit: str | Path | None = None,
) -> Prediction:
    """Predict the latency of a batch of equal requests.

    Parameters
    ----------
    model, device, dtype, weight_dtype, kv_dtype
        As for `roofline.analyze`.
    batch, prompt, output
        Sequences, tokens of each prompt, tokens to generate for each.
    stack
        A name of `STACKS`, or one that `calibrate` made.
    tensor_parallel
        Devices of this kind that share every layer.
    fit
        A file that `latency-predictor fit --output` wrote: your device, or your stack on it.

    Raises
    ------
    BadInput
        What `analyze` refuses, an unknown stack, or a batch whose weights and cache the device cannot hold.

    Notes
    -----
    An operator takes launch + (compute^p + memory^p)^(1/p) with shares of the peaks fitted on measured
    kernels, times a learned residual that vanishes away from them; a pass takes the larger of the device's
    time and the host's time to issue its kernels, times the stack's scalar. A step reads a cache that grows
    by one position a token; the mean over the steps is Simpson's rule on the first, middle and last.

    The interval holds for what was measured: whole passes of model families left out of the fit. Queueing,
    tokenisation and scheduling are not in it.

    Examples
    --------
    >>> from latency_predictor import predict
    >>> answer = predict("opt-30b", device="A100-80GB", batch=1, prompt=512, output=64, dtype="fp16")
    >>> answer.low_s < answer.total_s < answer.high_s
    True
    """
    sizes = {"batch": batch, "prompt": prompt, "output": output}
    for name, value in sizes.items():
        positive(name, value)
    engine = engine_for(
        model,
        device=device,
        stack=stack,
        dtype=dtype,
        weight_dtype=weight_dtype,
        kv_dtype=kv_dtype,
        tensor_parallel=tensor_parallel,
        fit=fit,
    )
    return predict_with(engine, batch=batch, prompt=prompt, output=output)


def predict_with(engine: Engine, *, batch: int, prompt: int, output: int) -> Prediction:
    """`predict` for an engine that stands."""
    from latency_predictor.engine import check_memory, notes_of
    from latency_predictor.pass_time import sizes

    first, last = prompt + 1, prompt + max(1, output - 1)
    needed = check_memory(engine, batch, last)
    prefill, far = _phase(engine, sizes(batch, prompt, prompt), "prefill", [1.0])
    steps = sizes(batch, 1, [first, (first + last) // 2, last])
    decode, further = _phase(engine, steps, "decode", [1 / 6, 4 / 6, 1 / 6])
    longest = engine.work.shape.max_sequence
    notes = list(dict.fromkeys(filter(None, (*notes_of(engine), far, further))))
    if longest is not None and last > longest:
        notes.append(f"position {last} is beyond the model's {longest}")
    return Prediction(
        model=engine.work.name,
        device=engine.device.name,
        stack=engine.stack.name,
        batch=batch,
        prompt=prompt,
        output=output,
        prefill=prefill,
        decode=decode,
        memory_bytes=needed,
        provenance=f"{engine.chosen.provenance}; stack: {engine.stack.source}",
        notes=tuple(notes),
        tensor_parallel=engine.work.parts,
    )


def _phase(engine: Engine, at: Any, name: str, weights: Sequence[float]) -> tuple[Phase, str]:
    """The weighted mean over the sizes; the parts are those of the middle one."""
    from latency_predictor.engine import extrapolated

    operators = engine.operators(at, name)
    seconds = engine.seconds(operators, name)
    low, high = engine.ends(operators, seconds, name)
    middle = len(weights) // 2
    parts = [Part(name, one.name, one.count, float(one.seconds[middle])) for one in operators]
    added = float(seconds[middle]) - sum(part.time_s for part in parts)
    parts.append(Part(name, "stack", 1, added))
    mean = (
        float(sum(w * v for w, v in zip(weights, values, strict=True))) for values in (seconds, low, high)
    )
    time_s, low_s, high_s = mean
    return Phase(time_s, low_s, high_s, tuple(parts)), extrapolated(operators)


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
