"""A checkpoint split over files, with an index that says which tensor is in which."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from checkpoint_lens.checkpoint import TensorInfo, TensorSource
from mfi_command import BadInput


class Shards:
    """Several files of one format under an index (`*.index.json`)."""

    def __init__(self, index: Path, open_file: Callable[[Path], TensorSource]) -> None:
        self.path = index
        self._where = _weight_map(index)
        self._open = open_file
        self._opened: dict[str, TensorSource] = {}

    def _shard(self, file: str) -> TensorSource:
        if file not in self._opened:
            path = self.path.parent / file
            if not path.is_file():
                raise BadInput(f"{self.path} names {file}, which is not there; download the missing shard")
            self._opened[file] = self._open(path)
        return self._opened[file]

    @cached_property
    def infos(self) -> Mapping[str, TensorInfo]:
        """Every tensor of the index, with the header of its shard behind it."""
        found = {}
        for name, file in self._where.items():
            infos = self._shard(file).infos
            if name not in infos:
                raise BadInput(f"{self.path} places tensor {name} in {file}, which does not hold it")
            found[name] = infos[name]
        return found

    def read(self, name: str) -> np.ndarray[Any, Any]:
        """The values of one tensor."""
        return self._shard(self._where[name]).read(name)


def _weight_map(index: Path) -> dict[str, str]:
    try:
        where = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{index} is not an index: expected JSON with a weight_map") from error
    if not isinstance(where, dict) or not where:
        raise BadInput(f"{index}: weight_map must map tensor names to files")
    for file in where.values():
        # An index comes from a stranger: it may only name files beside itself.
        if not isinstance(file, str) or PurePath(file).name != file:
            raise BadInput(f"{index} names {file!r}; a shard must be a file in the same folder")
    return where
