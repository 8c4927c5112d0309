"""Recorded arrivals: a CSV or JSON Lines file with a time column, plain or gzipped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mfi_command import BadInput
from mm1_planner.recordings.clock import numbers, seconds
from mm1_planner.recordings.rows import read_rows

_TIME_NAMES = ("timestamp", "time", "arrival_time", "arrival_timestamp", "arrived_at", "start_time")
_FEWEST = 2
# Azure, Mooncake, BurstGPT, and what logs are commonly called.
_PROMPT_NAMES = (
    "contexttokens",
    "input_length",
    "request tokens",
    "prompt_tokens",
    "input_tokens",
    "num_prompt_tokens",
)
_OUTPUT_NAMES = (
    "generatedtokens",
    "output_length",
    "response tokens",
    "output_tokens",
    "completion_tokens",
    "generated_tokens",
    "num_generation_tokens",
)
# Mooncake counts milliseconds; no other trace known here has its hashes.
_MILLISECONDS_BESIDE = "hash_ids"


@dataclass(frozen=True)
class Trace:
    """Requests in order of arrival.

    Attributes
    ----------
    arrivals_s : ndarray
        Seconds since the first request, float64 (n,), never decreasing.
    texts : dict
        The other columns as they stand in the file, in the same order.
    was_sorted : bool
        Whether the file was in order of time.
    """

    arrivals_s: np.ndarray
    texts: dict[str, list[str]]
    was_sorted: bool

    @property
    def requests(self) -> int:
        """Number of requests."""
        return int(self.arrivals_s.size)

    @property
    def duration_s(self) -> float:
        """Seconds from the first request to the last."""
        return float(self.arrivals_s[-1])

    @property
    def rate_per_s(self) -> float:
        """Arrivals after the first, per second."""
        return (self.requests - 1) / self.duration_s

    @property
    def gaps_s(self) -> np.ndarray:
        """Time since the request before, float64 (n,); 0 for the first."""
        return np.diff(self.arrivals_s, prepend=0.0)

    def column(self, name: str) -> np.ndarray:
        """A column as float64 (n,).

        Raises
        ------
        BadInput
            If there is no such column, or a cell is not a finite number.
        """
        if name not in self.texts:
            others = ", ".join(self.texts) or "none beside the time"
            raise BadInput(f"no column {name!r} in the trace; there are {others}")
        return numbers(name, self.texts[name])

    def lengths(self, prompt: str | None = None, output: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Prompt and generated tokens of each request, int64 (n,), by the columns named or recognised.

        Recognised are those of the Azure, Mooncake and BurstGPT traces and names like `prompt_tokens`. A
        request that generated nothing still takes an iteration and counts as one token.

        Raises
        ------
        BadInput
            If a column is missing, or holds anything but whole numbers, prompts of at least one token.
        """
        found = []
        for wanted, names, least in ((prompt, _PROMPT_NAMES, 1), (output, _OUTPUT_NAMES, 0)):
            name = wanted or next((each for each in self.texts if each.lower() in names), None)
            if name is None:
                others = ", ".join(self.texts) or "none beside the time"
                raise BadInput(
                    f"no column of {names[0]} or the like in the trace; there are {others}: name it"
                )
            values = self.column(name)
            if not ((values >= least) & (values == np.floor(values)) & (values < 1e9)).all():
                raise BadInput(
                    f"column {name!r} holds other than whole numbers of tokens from {least} to 1e9"
                )
            found.append(np.maximum(values, 1).astype(np.int64))
        return found[0], found[1]


def read_trace(
    path: str | Path,
    *,
    time_column: str | None = None,
    prompt_column: str | None = None,
    output_column: str | None = None,
    part: int | None = None,
) -> Trace:
    """Read arrivals from a CSV file with a header, JSON Lines or a benchmark's `.json`; plain or gzipped.

    Times are seconds, dates such as `2023-11-16 18:15:46.6805900` (up to nine digits of a second, the
    zone read as UTC where there is none), or counts since 1970 that are too large for seconds. The time
    column is the one named, or the first called `timestamp`, `time`, `arrival_time`, `arrival_timestamp`,
    `arrived_at` or `start_time` in any case; one that ends in `_ms` counts milliseconds. Rows
    out of order are sorted. A Mooncake trace (it has `hash_ids`) counts milliseconds and is read as such.
    `prompt_column` and `output_column` name the tokens where `Trace.lengths` would not recognise them; they
    are then called `prompt_tokens` and `output_tokens`.
    A `.json` is what `vllm bench serve --save-detailed` or GuideLLM writes; `part` chooses among several.

    Raises
    ------
    BadInput
        If the file is empty, has no such column, a time is not one, or all requests come at one moment.
    OSError
        If the file cannot be read.
    """
    path = Path(path)
    header, rows = read_rows(path, part=part)
    name = _time_column(header, time_column, path)
    if len(rows) < _FEWEST:
        raise BadInput(f"{path.name} holds {len(rows)} requests; expected at least {_FEWEST}")
    columns = dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))
    short = name.lower().endswith("_ms") or _MILLISECONDS_BESIDE in columns
    times = seconds(name, columns.pop(name), milliseconds=short)
    order = np.argsort(times, kind="stable")
    arrivals = times[order] - times[order[0]]
    if arrivals[-1] <= 0:
        raise BadInput(f"all {len(rows)} requests of {path.name} come at one moment; no rate can be told")
    was_sorted = bool(np.all(np.diff(times) >= 0))
    columns = _named(columns, {prompt_column: "prompt_tokens", output_column: "output_tokens"}, path)
    texts = {key: [values[i] for i in order] for key, values in columns.items()}
    return Trace(arrivals, texts, was_sorted)


def _time_column(header: list[str], wanted: str | None, path: Path) -> str:
    if wanted is not None:
        if wanted in header:
            return wanted
        raise BadInput(f"no column {wanted!r} in {path.name}; there are {', '.join(header)}")
    for name in header:
        if name.lower().removesuffix("_ms") in _TIME_NAMES:
            return name
    raise BadInput(f"no time column in {path.name} among {', '.join(header)}; name it with --time-column")


def _named(columns: dict[str, list[str]], names: dict[str | None, str], path: Path) -> dict[str, list[str]]:
    """The columns with the ones named by the user first, under the names that are recognised."""
    chosen = {name: ours for name, ours in names.items() if name is not None}
    for name in chosen:
        if name not in columns:
            raise BadInput(f"no column {name!r} in {path.name}; there are {', '.join(columns)}")
    first = {ours: columns[name] for name, ours in chosen.items()}
    return first | {
        name: cells for name, cells in columns.items() if name not in chosen and name not in first
    }
