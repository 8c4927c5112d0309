"""Ways to choose what a model reads when there is no text, as a list fixed before any of them was judged.

`rank_study.py` scores every way on every model; `ways_tables.py` chooses one on half of the zoo's families
and judges it on the other models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

PROBES = 4  # label draws for each window


@dataclass(frozen=True)
class Way:
    """Token ids drawn by `source`, in windows of `length`; the rest is for own samples."""

    source: str
    length: int
    temperature: float = 1.0
    burn_in: int = 0
    bos: bool = False


WAYS = {
    "random tokens": Way("random", 64),
    "random tokens, 128": Way("random", 128),
    "own samples": Way("own", 64),
    "own samples, 128": Way("own", 128),
    "own samples, 256": Way("own", 256),
    "own samples, temperature 0.8": Way("own", 64, temperature=0.8),
    "own samples, temperature 1.2": Way("own", 64, temperature=1.2),
    "own samples, from the middle": Way("own", 64, burn_in=32),
    "own samples, 128, from the middle": Way("own", 128, burn_in=32),
    "own samples, from the first token of texts": Way("own", 64, bos=True),
}


def ids_of(model: Any, way: Way, *, tokens: int, seed: int) -> torch.Tensor:
    """Token ids int64 (windows, length)."""
    from quant_risk_analyzer.texts import own_windows, random_windows

    count = tokens // way.length
    if way.source == "random":
        return random_windows(model.vocab_size, windows=count, length=way.length, seed=seed)
    return own_windows(
        model,
        windows=count,
        length=way.length,
        seed=seed,
        rounds=4,
        temperature=way.temperature,
        burn_in=way.burn_in,
        first=model.config.get("bos_token_id") if way.bos else None,
    )
