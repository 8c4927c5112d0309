"""What `compress` answers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class CompressedLayer:
    """What became of one layer: `rank` None and `kept` 1.0 where it stays dense."""

    name: str
    shape: tuple[int, int]
    break_even_rank: int
    rank: int | None
    kept: float
    predicted_loss_rise: float
    verdict: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Compression:
    """The answer of `compress`.

    Attributes
    ----------
    feasible
        Whether something was compressed within the budget.
    reason
        One sentence: what was found, or why nothing fits.
    kept, kept_compressed_layers, kept_model
        Parameters after over parameters before: of all layers that --layer selects, dense ones included;
        of the factored layers alone (None without one); of the whole checkpoint with its embeddings.
    perplexity_before, perplexity_after, rise, rise_low, rise_high
        On the evaluation text; the interval has confidence 0.95 over its windows. Of the last plan tried
        where none is feasible, None where none was tried.
    bytes_before, bytes_after
        Of all weights in the dtype they are stored in; `bytes_after` is the size of the weights file, or
        None where none was written.
    layers
        One entry for every selected layer.
    evaluation_tokens
        Judged tokens of the evaluation text.
    output
        The folder, None where nothing was written.
    """

    feasible: bool
    reason: str
    kept: float
    kept_compressed_layers: float | None
    kept_model: float
    perplexity_before: float
    perplexity_after: float | None
    rise: float | None
    rise_low: float | None
    rise_high: float | None
    bytes_before: int
    bytes_after: int | None
    layers: tuple[CompressedLayer, ...]
    evaluation_tokens: int
    output: Path | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {**asdict(self), "output": None if self.output is None else str(self.output)}

    def manifest(self) -> dict[str, Any]:
        """What is written beside the weights: everything that is known before they are written."""
        content = self.to_dict()
        del content["output"], content["bytes_after"]
        return content
