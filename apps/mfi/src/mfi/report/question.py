"""What the chain is asked: the model, the hardware, the traffic and the promise."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
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
        Read by the two stages that run the model.
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
    tokens: int = 4096
    seed: int = 0

    def for_context(self, max_context: int | None) -> Question:
        """The same question with a prompt length that the model's positions allow."""
        if self.prompt_tokens is not None:
            return self
        return replace(self, prompt_tokens=min(PROMPT_TOKENS, (max_context or 2 * PROMPT_TOKENS) // 2))

    @property
    def prompt(self) -> int:
        """Tokens in, once `for_context` has decided."""
        return self.prompt_tokens or PROMPT_TOKENS

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)
