"""Recorded arrivals: a CSV or JSON Lines file with a time column, plain or gzipped."""

from __future__ import annotations

import csv
import gzip
import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from mfi_command import BadInput

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
        return _numbers(name, self.texts[name])

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


def read_trace(path: str | Path, *, time_column: str | None = None) -> Trace:
    """Read arrivals from a CSV file with a header, or from JSON Lines (`.jsonl`); `.gz` is unpacked.

    Times are seconds, or dates such as `2023-11-16 18:15:46.6805900` (up to nine digits of a second, the
    zone read as UTC where there is none). The time column is the one named, or the first called
    `timestamp`, `time`, `arrival_time`, `arrival_timestamp`, `arrived_at` or `start_time` in any case. Rows
    out of order are sorted. A Mooncake trace (it has `hash_ids`) counts milliseconds and is read as such.

    Raises
    ------
    BadInput
        If the file is empty, has no such column, a time is not one, or all requests come at one moment.
    OSError
        If the file cannot be read.
    """
    path = Path(path)
    header, rows = _read(path)
    name = _time_column(header, time_column, path)
    if len(rows) < _FEWEST:
        raise BadInput(f"{path.name} holds {len(rows)} requests; expected at least {_FEWEST}")
    columns = dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))
    times = _times(name, columns.pop(name))
    if _MILLISECONDS_BESIDE in columns:
        times = times / 1e3
    order = np.argsort(times, kind="stable")
    arrivals = times[order] - times[order[0]]
    if arrivals[-1] <= 0:
        raise BadInput(f"all {len(rows)} requests of {path.name} come at one moment; no rate can be told")
    was_sorted = bool(np.all(np.diff(times) >= 0))
    texts = {key: [values[i] for i in order] for key, values in columns.items()}
    return Trace(arrivals, texts, was_sorted)


def _read(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with _open(path) as stream:
            if ".jsonl" in path.suffixes:
                return _objects(stream, path)
            return _table(csv.reader(stream), path)
    except (UnicodeDecodeError, csv.Error, gzip.BadGzipFile, EOFError) as error:
        kind = "JSON Lines" if ".jsonl" in path.suffixes else "CSV"
        raise BadInput(f"{path.name} is not a {kind} file: {error}") from None


def _objects(stream: TextIO, path: Path) -> tuple[list[str], list[list[str]]]:
    """Keys of the first line, and the values of each line as text; further keys are left out."""
    header: list[str] = []
    rows = []
    for number, line in enumerate(stream, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise BadInput(f"line {number} of {path.name} is no JSON: {error}") from None
        if not isinstance(record, dict):
            raise BadInput(f"line {number} of {path.name} is no JSON object; expected one for each request")
        header = header or list(record)
        missing = [key for key in header if key not in record]
        if missing:
            raise BadInput(f"line {number} of {path.name} lacks {missing[0]!r}, which the first line has")
        rows.append([_text(record[key]) for key in header])
    if not header:
        raise BadInput(f"{path.name} is empty; expected a JSON object for each request, one a line")
    return header, rows


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _table(reader: Iterator[list[str]], path: Path) -> tuple[list[str], list[list[str]]]:
    header = [name.strip() for name in next(reader, [])]
    if not header:
        raise BadInput(f"{path.name} is empty; expected a CSV file with a header and a row for each request")
    if len(set(header)) < len(header):
        raise BadInput(f"{path.name} names a column twice: {', '.join(header)}")
    rows = []
    for number, row in enumerate(reader, start=2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(header):
            raise BadInput(f"line {number} of {path.name} has {len(row)} cells; the header has {len(header)}")
        rows.append(row)
    return header, rows


def _time_column(header: list[str], wanted: str | None, path: Path) -> str:
    if wanted is not None:
        if wanted in header:
            return wanted
        raise BadInput(f"no column {wanted!r} in {path.name}; there are {', '.join(header)}")
    for name in header:
        if name.lower() in _TIME_NAMES:
            return name
    raise BadInput(f"no time column in {path.name} among {', '.join(header)}; name it with --time-column")


def _times(name: str, cells: list[str]) -> np.ndarray:
    try:
        float(cells[0])
    except ValueError:
        return _dates(name, cells)
    return _numbers(name, cells)


def _dates(name: str, cells: list[str]) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            # numpy warns that it keeps no zone; it converts to UTC, which is what differences need.
            warnings.simplefilter("ignore")
            stamps = np.array([cell.strip() for cell in cells], dtype="datetime64[ns]")
    except ValueError as error:
        raise BadInput(f"column {name!r} holds neither seconds nor dates: {error}") from None
    if np.isnat(stamps).any():
        raise BadInput(f"column {name!r} has no time in row {int(np.isnat(stamps).argmax()) + 1}")
    # Differences first: nanoseconds since 1970 do not fit a float64.
    return np.asarray((stamps - stamps[0]) / np.timedelta64(1, "s"))


def _numbers(name: str, cells: list[str]) -> np.ndarray:
    values = np.empty(len(cells))
    for row, cell in enumerate(cells):
        try:
            values[row] = float(cell)
        except ValueError:
            values[row] = np.nan
        if not np.isfinite(values[row]):
            raise BadInput(f"column {name!r} has {cell!r} in row {row + 1}; expected a finite number")
    return values
