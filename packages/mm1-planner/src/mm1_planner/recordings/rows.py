"""A file as a header and rows of text: CSV, JSON Lines, or the JSON of a benchmark; plain or gzipped."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from mfi_command import BadInput
from mm1_planner.recordings.benchmarks import rows_of_benchmark

Rows = tuple[list[str], list[list[str]]]

_GZIP = b"\x1f\x8b"
_NAMES = {".json": "JSON", ".jsonl": "JSON Lines", ".csv": "CSV"}


def read_rows(path: Path, *, part: int | None = None) -> Rows:
    """Header and rows; `.jsonl` and `.json` tell those forms, anything else is CSV.

    Raises
    ------
    BadInput
        If the file is empty or not of its form, or has several parts and none is chosen.
    OSError
        If it cannot be read.
    """
    form = next((suffix for suffix in path.suffixes if suffix in (".json", ".jsonl")), ".csv")
    if part is not None and form != ".json":
        raise BadInput(f"{path.name} has no parts; only the .json of a benchmark has")
    try:
        with _open(path) as stream:
            if form == ".json":
                return _document(stream, path, part)
            return _objects(stream, path) if form == ".jsonl" else _table(csv.reader(stream), path)
    except (UnicodeDecodeError, csv.Error, gzip.BadGzipFile, EOFError) as error:
        raise BadInput(f"{path.name} is not a {_NAMES[form]} file: {error}") from None


def _open(path: Path) -> TextIO:
    with path.open("rb") as start:
        packed = start.read(2) == _GZIP
    if packed or path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _document(stream: TextIO, path: Path, part: int | None) -> Rows:
    try:
        document = json.load(stream)
    except (json.JSONDecodeError, RecursionError) as error:
        raise BadInput(f"{path.name} is no JSON: {error}; JSON Lines end in .jsonl") from None
    return rows_of_benchmark(document, path.name, part)


def _objects(stream: TextIO, path: Path) -> Rows:
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


def _table(reader: Iterator[list[str]], path: Path) -> Rows:
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
