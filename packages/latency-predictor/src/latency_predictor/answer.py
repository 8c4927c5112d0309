"""What a prediction of one batch says: two phases, their parts and intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


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
