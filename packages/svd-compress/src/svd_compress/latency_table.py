"""The latency table of a device: measured once for each shape, kept, and asked which ranks may be used."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mfi_command.executors import JsonFolder, digest
from svd_compress.allocation import Layout, Option
from svd_compress.latency import LatencyRow, alignment, candidate_ranks, device_name, measure
from svd_compress.timing import Interval

Rows = MutableMapping[str, Any]


def kept_folder() -> Path:
    """Where `svd-compress latency --keep` keeps the tables of this user's devices."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "svd-compress" / "latency"


def default_tokens(device: str) -> int:
    """The number of tokens that factored layers have to be faster at where nobody said one.

    A GPU is measured in seconds, so it is: one token, a decode step. On a CPU the fewest tokens of the kept
    table of this processor, or 0, which measures nothing, where none is kept.
    """
    if device.startswith("cuda"):
        return 1
    if device != "cpu":  # a name that torch may not know, which is said where the model is put there
        return 0
    return min((row.tokens for row in kept_rows(device)), default=0)


def kept_rows(device: str) -> list[LatencyRow]:
    """The kept table of this device."""
    if not kept_folder().is_dir():
        return []
    held = JsonFolder(kept_folder())
    rows = [as_row(row) for key in held for row in held[key]]
    return [row for row in rows if row.device == device_name(device)]


def keep_rows(rows: Sequence[LatencyRow]) -> Path:
    """Add measured rows to the kept tables; the folder."""
    held = JsonFolder(kept_folder())
    for shape in {row.shape for row in rows}:
        own = [row for row in rows if row.shape == shape]
        one = own[0]
        key = _key(shape, one.tokens, one.layout, one.dtype, one.device)
        held[key] = [row.to_dict() for row in own]
    return kept_folder()


def as_row(content: dict[str, Any]) -> LatencyRow:
    """A row from plain data."""
    m, n = content["shape"]
    return LatencyRow(**{**content, "shape": (m, n), "speed_up": Interval(**content["speed_up"])})


def table(
    shapes: Iterable[tuple[int, int]],
    tokens: int,
    *,
    layout: Layout = "two",
    device: str = "cpu",
    dtype: str = "float32",
    multiple: int | None = None,
    rounds: int = 15,
    store: Rows | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[LatencyRow]:
    """Rows for each distinct shape at evenly spaced aligned ranks, see `latency.measure`.

    A shape that `store` or the kept table of this device has at so many tokens is not measured again.
    """
    distinct = sorted(set(shapes))
    held: Rows = {} if store is None else store
    rows: list[LatencyRow] = []
    kept = [
        row for row in kept_rows(device) if (row.tokens, row.layout, row.dtype) == (tokens, layout, dtype)
    ]
    for done, shape in enumerate(distinct, 1):
        key = _key(shape, tokens, layout, dtype, device_name(device))
        own = [row for row in kept if row.shape == shape] or [as_row(row) for row in held.get(key, [])]
        if not own:
            ranks = candidate_ranks(shape, multiple=multiple or alignment(device), layout=layout)
            own = measure(shape, ranks, tokens, layout=layout, device=device, dtype=dtype, rounds=rounds)
            held[key] = [row.to_dict() for row in own]
        rows += own
        if on_progress is not None:
            on_progress(done, len(distinct))
    return rows


def _key(shape: tuple[int, int], tokens: int, layout: Layout, dtype: str, device: str) -> str:
    return digest({"shape": shape, "tokens": tokens, "layout": layout, "dtype": dtype, "device": device})


def only_faster(
    shape: tuple[int, int], options: Sequence[Option], rows: Sequence[LatencyRow]
) -> list[Option]:
    """The options whose very rank was measured to be faster than dense, and dense, with their times."""
    own = [row for row in rows if row.shape == shape]
    faster = {row.rank: row.factored_s for row in own if row.verdict == "faster"}
    dense_s = float(np.median([row.dense_s for row in own])) if own else None
    return [
        replace(option, latency_s=dense_s if option.rank is None else faster[option.rank])
        for option in options
        if option.rank is None or option.rank in faster
    ]
