"""What the chain is asked: the model, the hardware, the traffic and the promise."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

BATCHES = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Question:
    """Everything that decides the answers.

    Attributes
    ----------
    model
        MODEL: a folder, a file, or "reference".
    formats
        Number formats to rate.
    calibration
        Path of the user's own text; the bundled calibration text without one.
    device, stack, dtype
        What the model would run on, and how.
    prompt_tokens, output_tokens
        Of a typical request.
    arrival_rate_per_s, slo
        Traffic, and the promise, such as "p99_wait<0.2".
    max_loss_rise
        What one layer may cost when it is made low-rank, nats per token.
    tokens
        Read by the two stages that run the model.
    """

    model: str = "reference"
    formats: tuple[str, ...] = ("int8", "int4")
    calibration: str | None = None
    device: str = "H100-SXM5-80GB"
    stack: str = "cuda-graph"
    dtype: str = "bf16"
    prompt_tokens: int = 512
    output_tokens: int = 128
    arrival_rate_per_s: float = 20.0
    slo: str = "p99_wait<0.2"
    max_loss_rise: float = 0.002
    tokens: int = 4096
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)
