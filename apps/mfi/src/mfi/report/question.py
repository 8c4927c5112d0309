"""What the chain is asked: the model, the hardware, the traffic and the promise."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

PROMPT_TOKENS = 512
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
        Of a typical request; without a prompt, `PROMPT_TOKENS` or half of the model's positions.
    arrival_rate_per_s, slo
        Traffic, and the promise, such as "p99_wait<0.2".
    max_loss_rise
        What one layer may cost when it is made low-rank, nats per token.
    tokens
        Read by each of the two stages that run the model; by default 4096, or 2048 where a model has more
        than 50 million parameters, which keeps the report within minutes on two cores.
    """

    model: str = "reference"
    formats: tuple[str, ...] = ("int8", "int4")
    calibration: str | None = None
    device: str = "H100-SXM5-80GB"
    stack: str = "cuda-graph"
    dtype: str = "bf16"
    prompt_tokens: int | None = None
    output_tokens: int = 128
    arrival_rate_per_s: float = 20.0
    slo: str = "p99_wait<0.2"
    max_loss_rise: float = 0.002
    tokens: int | None = None
    seed: int = 0

    def for_model(self, max_context: int | None, parameters: int) -> Decided:
        """What was left open, decided by the model's positions and size."""
        prompt = self.prompt_tokens or min(PROMPT_TOKENS, (max_context or 2 * PROMPT_TOKENS) // 2)
        tokens = self.tokens or (4096 if parameters <= 50_000_000 else 2048)
        return Decided(**{**asdict(self), "prompt_tokens": prompt, "tokens": tokens})

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Decided(Question):
    """A question with nothing left open."""

    prompt_tokens: int = PROMPT_TOKENS
    tokens: int = 4096
