"""From a risk in nats per token to a grade."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mfi_command import BadInput


@dataclass(frozen=True)
class Thresholds:
    """Limits of the grades, in nats per token: A below `safe`, C above `risky`, B between.

    A nat is a factor e of perplexity: the defaults call a layer safe when quantizing it alone costs less
    than 0.1 % of perplexity, and risky when it costs more than 1 %.
    """

    safe: float = 1e-3
    risky: float = 1e-2

    def __post_init__(self) -> None:
        if not 0 < self.safe < self.risky < math.inf:
            raise BadInput(f"thresholds {self.safe}, {self.risky}: expected 0 < safe < risky, nats per token")

    def grade(self, risk: float) -> str:
        """A, B or C."""
        return "A" if risk < self.safe else "C" if risk > self.risky else "B"
