"""What `compress` answers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from svd_compress.evaluation import Rise
from svd_compress.timing import Interval


@dataclass(frozen=True)
class CompressedLayer:
    """What became of one layer: `rank` None and `kept` 1.0 where it stays dense.

    `speed_up` is measured at the number of tokens asked for, None where nothing was measured.
    """

    name: str
    shape: tuple[int, int]
    break_even_rank: int
    rank: int | None
    kept: float
    predicted_loss_rise: float
    verdict: str
    speed_up: Interval | None = None

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
    form
        How factored layers are kept: "pivoted" or "two".
    kept, kept_compressed_layers, kept_model
        Parameters after over parameters before: of all layers that --layer selects, dense ones included;
        of the factored layers alone (None without one); of the whole checkpoint with its embeddings.
    perplexity_before, perplexity_after, rise, rise_low, rise_high
        On the evaluation text; the interval has confidence 0.95 over its windows. Of the last plan tried
        where none is feasible, None where none was tried.
    other_domain
        The same on text of another domain.
    bytes_before, bytes_after
        Of all weights in the dtype they are stored in; `bytes_after` is the size of the weights files, or
        None where none was written.
    layers
        One entry for every selected layer.
    refined, healed_minutes
        Whether the factors were fitted again block by block, and for how long they were trained; each is kept
        only where it measured better, and else False and 0.
    faster_at
        Tokens of a forward pass at which each factored layer was measured to be faster than dense; 0 where
        nothing was measured.
    evaluation_tokens
        Judged tokens of the evaluation text.
    warnings
        What to know about the source, such as that it is quantized.
    output
        The folder, None where nothing was written.
    """

    feasible: bool
    reason: str
    form: str
    kept: float
    kept_compressed_layers: float | None
    kept_model: float
    perplexity_before: float
    perplexity_after: float | None
    rise: float | None
    rise_low: float | None
    rise_high: float | None
    other_domain: Rise | None
    bytes_before: int
    bytes_after: int | None
    layers: tuple[CompressedLayer, ...]
    refined: bool
    healed_minutes: float
    faster_at: int
    evaluation_tokens: int
    warnings: tuple[str, ...]
    output: Path | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {**asdict(self), "output": None if self.output is None else str(self.output)}

    def manifest(self) -> dict[str, Any]:
        """What is written beside the weights: everything that is known before they are written."""
        content = self.to_dict()
        del content["output"], content["bytes_after"]
        return content
