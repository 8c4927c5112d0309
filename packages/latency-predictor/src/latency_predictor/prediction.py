"""How long a request takes: prefill, decode steps, and the interval that held-out measurements gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latency_predictor.answer import Part, Phase, Prediction
from roofline import Device
from roofline.arguments import positive

if TYPE_CHECKING:
    from latency_predictor.engine import Engine
    from latency_predictor.stacks import Stack


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
