"""From a risk in nats per token, and the chance to be among the worst, to a grade."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mfi_command import BadInput

BY = ("risk", "rank")


@dataclass(frozen=True)
class Thresholds:
    """Limits of the grades.

    Attributes
    ----------
    safe, risky
        By risk, nats per token: A below `safe`, C above `risky`, B between. A nat is a factor e of
        perplexity: the defaults call a layer safe when quantizing it alone costs less than 0.1 % of
        perplexity, and risky when it costs more than 1 %.
    unlikely, likely
        By rank, the calibrated chance to be in the worst tenth of the model's layers: A up to `unlikely`, C
        from `likely` on.
    by
        "risk": is this layer safe in this format? "rank": which layers of this model come last?
    """

    safe: float = 1e-3
    risky: float = 1e-2
    unlikely: float = 0.02
    likely: float = 0.5
    by: str = "risk"

    def __post_init__(self) -> None:
        if not 0 < self.safe < self.risky < math.inf:
            raise BadInput(f"thresholds {self.safe}, {self.risky}: expected 0 < safe < risky, nats per token")
        if not 0 < self.unlikely < self.likely < 1:
            raise BadInput(
                f"thresholds {self.unlikely}, {self.likely}: expected 0 < unlikely < likely < 1, chances"
            )
        if self.by not in BY:
            raise BadInput(f"grades by {self.by!r}: expected {' or '.join(BY)}")

    def grade(self, risk: float, top_decile: float = math.nan) -> str:
        """A, B or C for a risk in nats per token and a chance to be in the worst tenth."""
        if self.by == "rank":
            return "A" if top_decile <= self.unlikely else "C" if top_decile >= self.likely else "B"
        return "A" if risk < self.safe else "C" if risk > self.risky else "B"
