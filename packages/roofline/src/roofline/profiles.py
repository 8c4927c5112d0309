"""Reading kernels from files: which reader fits is seen from the content, not from the name alone."""

from __future__ import annotations

import gzip
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mfi_command import BadInput
from roofline.kernels import Kernel
from roofline.ncu import is_ncu, read_ncu
from roofline.tabled import kernel_from, read_csv
from roofline.traces import read_trace


def read_kernels(path: Path, *, dtype: str) -> tuple[Kernel, ...]:
    """Kernels of a table, of ncu's CSV, or of a trace of torch's profiler.

    Raises
    ------
    BadInput
        No such file, nothing that any reader knows, or an entry that cannot be used, named.
    """
    text = _text(path)
    if path.suffix == ".toml":
        return _entries(path, _parsed(path, text, tomllib.loads), dtype)
    if text.lstrip()[:1] in ("{", "["):
        content = _parsed(path, text, json.loads)
        if isinstance(content, dict) and "traceEvents" in content:
            return read_trace(content, where=str(path))
        return _entries(path, content, dtype)
    return read_ncu(text, where=str(path), dtype=dtype) if is_ncu(text) else read_csv(text, str(path), dtype)


def _text(path: Path) -> str:
    if not path.is_file():
        raise BadInput(f"{path}: no such file; expected a table of kernels or a profiler's export")
    data = path.read_bytes()
    try:
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{path}: is not text ({error}); an .ncu-rep is exported with ncu --csv --page raw"
        ) from error
    if not text.strip():
        raise BadInput(f"{path}: is empty; expected a table of kernels or a profiler's export")
    return text


def _parsed(path: Path, text: str, parse: Any) -> Any:
    try:
        return parse(text)
    except ValueError as error:
        raise BadInput(f"{path}: cannot be read as {path.suffix or 'JSON'}: {error}") from error


def _entries(path: Path, content: Any, dtype: str) -> tuple[Kernel, ...]:
    entries = content.get("kernel", content.get("kernels")) if isinstance(content, Mapping) else content
    if not isinstance(entries, list) or not all(isinstance(one, Mapping) for one in entries):
        raise BadInput(f"{path}: expected a list of kernels, [[kernel]] in TOML or [{{...}}] in JSON")
    return tuple(_numbered(path, entries, dtype))


def _numbered(path: Path, entries: list[Mapping[str, Any]], dtype: str) -> Iterable[Kernel]:
    for number, entry in enumerate(entries, 1):
        yield kernel_from(entry, where=f"{path}, kernel {number}", dtype=dtype)
