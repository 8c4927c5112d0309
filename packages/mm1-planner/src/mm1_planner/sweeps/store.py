"""Results of a sweep as Parquet files of one folder, keyed by a hash of what was asked."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from types import TracebackType
from typing import Any

from mfi_command import BadInput, atomic_file, require

_EVERY_S = 5.0
_KEY, _ROW = "key", "row"

Row = dict[str, Any]


class ParquetStore(MutableMapping[str, Row]):
    """A mapping of keys to rows of plain values; use it in a `with`, whose end writes what is left.

    Parameters
    ----------
    path : path
        A folder; made if it does not exist. Every file `part-*.parquet` in it is read. A new part is
        written, whole or not at all, at most every five seconds: a run that is killed loses no more.

    Raises
    ------
    BadInput
        If pyarrow is not installed, or `path` is a file or holds other Parquet files.
    """

    def __init__(self, path: str | Path) -> None:
        self._parquet: Any = require("pyarrow.parquet", extra="parquet", distribution="mm1-planner")
        self._arrow: Any = require("pyarrow", extra="parquet", distribution="mm1-planner")
        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise BadInput(f"{self.path} is a file; expected a folder for the results")
        self.path.mkdir(parents=True, exist_ok=True)
        self._rows: dict[str, Row] = {}
        self._new: dict[str, Row] = {}
        self._written_at = time.monotonic()
        for file in self._parts():
            self._rows |= self._read(file)

    def _parts(self) -> list[Path]:
        return sorted(self.path.glob("part-*.parquet"))

    def _read(self, file: Path) -> dict[str, Row]:
        try:
            table = self._parquet.read_table(file)
            keys, rows = table.column(_KEY).to_pylist(), table.column(_ROW).to_pylist()
        except (self._arrow.ArrowInvalid, KeyError) as error:
            raise BadInput(f"{file} is no part of a sweep: {str(error).splitlines()[0]}") from None
        return {key: json.loads(row) for key, row in zip(keys, rows, strict=True)}

    def __getitem__(self, key: str) -> Row:
        return self._rows[key]

    def __setitem__(self, key: str, row: Row) -> None:
        self._rows[key] = self._new[key] = row
        if time.monotonic() - self._written_at > _EVERY_S:
            self.flush()

    def __delitem__(self, key: str) -> None:
        raise TypeError("a sweep only grows; remove its folder to begin anew")

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def flush(self) -> None:
        """Write what is new as one more part: the key, the whole row, and a column for each value."""
        self._written_at = time.monotonic()
        if not self._new:
            return
        names = sorted({name for row in self._new.values() for name in row} - {_KEY, _ROW})
        columns: dict[str, list[Any]] = {_KEY: list(self._new)}
        columns[_ROW] = [json.dumps(row, sort_keys=True) for row in self._new.values()]
        columns |= {name: [row.get(name) for row in self._new.values()] for name in names}
        file = self.path / f"part-{len(self._parts()):05d}.parquet"
        with atomic_file(file) as temporary:
            self._parquet.write_table(self._arrow.table(columns), temporary, compression="zstd")
        self._new = {}

    def __enter__(self) -> ParquetStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()
