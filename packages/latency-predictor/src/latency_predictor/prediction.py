"""How long a request takes: prefill, decode steps, and the interval that held-out measurements gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latency_predictor.answer import Part, Phase, Prediction
from mfi_command import BadInput
from roofline import Device
from roofline.arguments import positive

if TYPE_CHECKING:
    from latency_predictor.engine import Engine
    from latency_predictor.stacks import Stack

_FIRST = ("cuda-graph", "loop")  # where a fit has several stacks and none is asked for


def engine_for(
    model: str | Path | Mapping[str, Any],
    *,
    device: str | Path | Device | None = None,
    stack: str | Stack | None = None,
    dtype: str | None = None,
    weight_dtype: str | None = None,
    kv_dtype: str | None = None,
    tensor_parallel: int = 1,
    fit: str | Path | None = None,
) -> Engine:
    """Everything but the sizes, decided once; arguments as for `predict`."""
    from latency_predictor.engine import Engine, chosen_for, interval_of
    from latency_predictor.stacks import PHASES
    from latency_predictor.work import model_work

    own: dict[str, Any] = {}
    if fit is not None:
        from latency_predictor.fitfile import load

        own = load(fit)
    hardware = _hardware(device, own.get("hardware"), fit)
    chosen = own.get("chosen") or chosen_for(hardware.name)
    made, stands_in = _stack(stack, own, hardware)
    measured = own.get("dtypes", ())
    dtype, unmeasured = _dtype(dtype, measured, hardware)
    intervals = None if stands_in or unmeasured else own.get("intervals", {}).get(made.name)
    known = chosen.known and not stands_in and not unmeasured
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
        interval=intervals or {phase: interval_of(made.name, phase, known=known) for phase in PHASES},
        notes=tuple(filter(None, (stands_in, unmeasured))),
    )


def _hardware(given: str | Path | Device | None, own: Device | None, fit: str | Path | None) -> Device:
    from roofline import device as find_device

    if given is None:
        if own is None:
            raise BadInput("no device: give device (--device), or a fit of your own (--fit)")
        return own
    found = find_device(given)
    if own is not None and own.name != found.name:
        raise BadInput(f"device is {found.name}, and {fit} is of {own.name}; leave the device out")
    return own or found


def _dtype(wanted: str | None, measured: Sequence[str], on: Device) -> tuple[str, str]:
    """The dtype, and a sentence where a fit has no products in it."""
    from roofline.dtypes import dtype_name

    if wanted is None:
        return (measured[0] if measured and "bf16" not in measured else "bf16"), ""
    name = dtype_name(wanted)
    if not measured or name in measured or {"fp16": "bf16"}.get(name) in measured:
        return wanted, ""
    return wanted, (
        f"no products in {name} were measured on {on.name}: shares of its peak that other devices reach stand"
        " in, and the interval is that of devices left out"
    )


def _stack(wanted: str | Stack | None, own: Mapping[str, Any], on: Device) -> tuple[Stack, str]:
    """The stack, and a sentence where one measured elsewhere stands in for one that the fit lacks."""
    from latency_predictor.stacks import Stack, find_stack, stacks

    if isinstance(wanted, Stack):
        return wanted, ""
    mine: Mapping[str, Stack] = own.get("stacks", {})
    if wanted is None:
        wanted = next((name for name in (*_FIRST, *mine) if name in mine), _FIRST[0])
    if wanted in mine:
        return mine[wanted], ""
    if mine and wanted not in stacks():
        raise BadInput(
            f"stack is {wanted!r}; the fit has {', '.join(mine)}, and there are {', '.join(stacks())}"
        )
    found = find_stack(wanted)
    if not own.get("dtypes"):
        return found, ""
    return found, (
        f"no stack {wanted} was fitted on {on.name} (`collect` more passes): {found.source} stand in,"
        " and the interval is that of devices left out"
    )


def predict(
    model: str | Path | Mapping[str, Any],
    *,
    device: str | Path | Device | None = None,
    batch: int = 1,
    prompt: int = 512,
    output: int = 128,
    stack: str | Stack | None = None,
    dtype: str | None = None,
    weight_dtype: str | None = None,
    kv_dtype: str | None = None,
    tensor_parallel: int = 1,
    fit: str | Path | None = None,
) -> Prediction:
    """Predict the latency of a batch of equal requests.

    Parameters
    ----------
    model, dtype, weight_dtype, kv_dtype
        As for `roofline.analyze`.
        dtype: by default bf16, and with a `fit` what it was measured in.
    device
        As for `roofline.analyze`; it may be left out with a `fit`, which names its own.
    batch, prompt, output
        Sequences, tokens of each prompt, tokens to generate for each.
    stack
        A name of `stacks.toml`, or one of `fit`. By default cuda-graph, and with a `fit` the one that it has.
    tensor_parallel
        Devices of this kind that share every layer.
    fit
        A file that `latency-predictor fit --output` wrote: your device, or your stack on it.

    Raises
    ------
    BadInput
        What `analyze` refuses, an unknown stack, a `fit` of another device, or a batch whose weights and
        cache the device cannot hold.

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
