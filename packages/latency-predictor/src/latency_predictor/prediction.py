"""How long a request takes: prefill, decode steps, and the interval that held-out measurements gave."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latency_predictor.coefficients import Chosen, fit_for, table
from latency_predictor.eager import Eager, eager_device_s, eager_s
from latency_predictor.kernels import operator_s
from mfi_command import BadInput
from roofline import Analysis, Device, analyze
from roofline import device as find_device
from roofline.arguments import positive

STACKS: dict[str, str] = {
    "cuda-graph": "kernels one after the other, nothing between them; projections apart",
    "vllm": "the same with one product for q, k, v and one for gate, up; scheduling is not counted",
    "eager": "transformers as its code is written: unfused kernels, launched one by one",
}


@dataclass(frozen=True)
class Part:
    """Seconds of one operator in a phase; "overhead" is what the stack adds to the sum of them."""

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
        Weights and cache at the last token; activations are not counted.
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


def predict(
    model: str | Path | Mapping[str, Any],
    *,
    device: str | Path | Device,
    batch: int = 1,
    prompt: int = 512,
    output: int = 128,
    stack: str = "cuda-graph",
    dtype: str = "bf16",
    weight_dtype: str | None = None,
    kv_dtype: str | None = None,
) -> Prediction:
    """Predict the latency of a batch of equal requests on one device.

    Parameters
    ----------
    model, device, dtype, weight_dtype, kv_dtype
        As for `roofline.analyze`.
    batch, prompt, output
        Sequences, tokens of each prompt, tokens to generate for each.
    stack
        A name of `STACKS`.

    Raises
    ------
    BadInput
        What `analyze` refuses, an unknown stack, or a batch whose weights and cache the device cannot hold.

    Notes
    -----
    An operator takes launch + (compute^p + memory^p)^(1/p) with shares of the peaks fitted on measured
    kernels (`coefficients.toml` names them). A step reads a cache that grows by one position a token; the
    mean over the steps is Simpson's rule on the first, middle and last. Cost: four calls of `analyze`.

    The interval holds for what was measured: kernels of models left out of the fit, or whole passes for
    "eager". Queueing, tokenisation and scheduling are not in it.

    Examples
    --------
    >>> from latency_predictor import predict
    >>> answer = predict("opt-30b", device="A100-80GB", batch=1, prompt=512, output=64, dtype="fp16")
    >>> answer.low_s < answer.total_s < answer.high_s
    True
    """
    if stack not in STACKS:
        raise BadInput(f"stack is {stack!r}; there are measurements for {', '.join(STACKS)}")
    hardware = find_device(device)
    chosen = fit_for(hardware)
    passes = [
        analyze(
            model,
            device=hardware,
            batch=batch,
            sequence=sequence,
            phase=phase,
            dtype=dtype,
            weight_dtype=weight_dtype,
            kv_dtype=kv_dtype,
            fused=stack == "vllm",
        )
        for phase, sequence in _lengths(prompt, output)
    ]
    last = passes[-1]
    if last.fits is False:
        raise BadInput(
            f"batch {batch} needs {last.memory_bytes / 1e9:.4g} GB for weights and cache,"
            f" {hardware.name} has {(hardware.memory_bytes or 0) / 1e9:.4g} GB; take a smaller batch or dtype"
        )
    steps = [_phase(analysis, chosen, stack) for analysis in passes[1:]]
    return Prediction(
        model=model
        if isinstance(model, str)
        else last.shape.model_type
        if isinstance(model, Mapping)
        else str(model),
        device=hardware.name,
        stack=stack,
        batch=batch,
        prompt=prompt,
        output=output,
        prefill=_phase(passes[0], chosen, stack),
        decode=_mean_step(steps),
        memory_bytes=last.memory_bytes,
        provenance=chosen.provenance,
        notes=(*last.notes, *_notes(chosen, stack, last)),
    )


def _lengths(prompt: int, output: int) -> list[tuple[str, int]]:
    """The prefill, then the first, middle and last decode step, each with the positions it covers."""
    positive("prompt", prompt)
    last = prompt + max(1, positive("output", output) - 1)
    return [
        ("prefill", prompt),
        ("decode", prompt + 1),
        ("decode", (prompt + 1 + last) // 2),
        ("decode", last),
    ]


def _mean_step(steps: list[Phase]) -> Phase:
    """Simpson's mean of the first, middle and last step; the parts are those of the middle."""
    first, middle, last = steps

    def mean(end: str) -> float:
        return float((getattr(first, end) + 4 * getattr(middle, end) + getattr(last, end)) / 6)

    return Phase(mean("time_s"), mean("low_s"), mean("high_s"), middle.parts)


def _phase(analysis: Analysis, chosen: Chosen, stack: str) -> Phase:
    time_of = eager_device_s if stack == "eager" else operator_s
    parts = tuple(
        Part(
            analysis.phase,
            placed.operator.name,
            placed.operator.count,
            time_of(placed.operator, analysis, chosen.fit),
        )
        for placed in analysis.operators
    )
    busy = math.fsum(part.time_s for part in parts)
    which = "known" if chosen.known else "unseen"
    if stack == "eager":
        total = eager_s(analysis, Eager(**table()["eager"]), chosen.fit)
        low, high = _eager_interval(analysis.phase, known=chosen.known)
        overhead = Part(analysis.phase, "overhead", 1, max(0.0, total - busy))
        return Phase(total, total * math.exp(low), total * math.exp(high), (*parts, overhead))
    attention = math.fsum(part.time_s for part in parts if part.name.startswith("attention"))
    ends = table()["interval"][which]
    low, high = (
        (busy - attention) * math.exp(ends["layer"][analysis.phase][end])
        + attention * math.exp(ends["attention"][analysis.phase][end])
        for end in ("low_log", "high_log")
    )
    return Phase(busy, low, high, parts)


def _eager_interval(phase: str, *, known: bool) -> tuple[float, float]:
    """Of whole passes; on a device that was not measured, with the error of its kernels added in
    quadrature.
    """
    own = table()["interval"]["eager"][phase]
    if known:
        return own["low_log"], own["high_log"]
    kernels = table()["interval"]["unseen"]["layer"][phase]
    return -math.hypot(own["low_log"], kernels["low_log"]), math.hypot(own["high_log"], kernels["high_log"])


def _notes(chosen: Chosen, stack: str, analysis: Analysis) -> tuple[str, ...]:
    found = []
    if not chosen.known:
        found.append(f"{chosen.provenance}; the interval is that of devices left out of the fit")
    if stack == "eager":
        found.append(
            "eager: overhead fitted on transformers on an H100 host; a slower processor takes longer"
        )
    if analysis.dtype not in ("bf16", "fp16") and analysis.dtype not in chosen.fit.gemms:
        found.append(f"{analysis.dtype}: efficiencies of 16-bit products stand in, none were measured")
    return tuple(found)
