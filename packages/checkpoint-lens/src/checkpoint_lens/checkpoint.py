"""A checkpoint: names, shapes and dtypes at once, each tensor's values when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from checkpoint_lens.layers import LinearLayer, linear_layers


@dataclass(frozen=True)
class TensorInfo:
    """What the header of a file says of one tensor.

    `dtype` is the stored one: a numpy or ml_dtypes name ("float32", "bfloat16", "float8_e4m3fn") or a GGUF
    block format ("Q4_1"); `nbytes` is what the tensor takes in the file (uncompressed, for npz).
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


class TensorSource(Protocol):
    """What a file format has to offer: `infos` from headers alone, `read` for one tensor's values."""

    @property
    def infos(self) -> Mapping[str, TensorInfo]:
        """Every tensor, in the order of the file."""
        ...

    def read(self, name: str) -> np.ndarray[Any, Any]:
        """The values of one tensor; nothing is kept."""
        ...


class Checkpoint(Mapping[str, np.ndarray[Any, Any]]):
    """A read-only mapping of tensor names to arrays; `checkpoint[name]` reads that tensor and keeps nothing.

    Made by `open_checkpoint`. Names follow the Hugging Face layout, also for GGUF files.

    Attributes
    ----------
    path
        The folder or file that was named.
    file
        The weights file, or the index of the shards.
    format
        "safetensors", "gguf", "npz" or "torch".
    config
        The keys of config.json (built from metadata for GGUF), None where there is none.
    """

    def __init__(
        self, path: Path, file: Path, format: str, source: TensorSource, config: dict[str, Any] | None = None
    ) -> None:
        self.path = path
        self.file = file
        self.format = format
        self.config = config
        self._source = source

    @property
    def tensors(self) -> dict[str, TensorInfo]:
        """Name, shape, dtype and bytes of every tensor, without reading any."""
        return dict(self._source.infos)

    def __getitem__(self, name: str) -> np.ndarray[Any, Any]:
        if name not in self._source.infos:
            raise KeyError(f"{self.path} has no tensor {name!r}")
        return self._source.read(name)

    def __contains__(self, name: object) -> bool:  # Mapping's own would read the tensor
        return name in self._source.infos

    def __iter__(self) -> Iterator[str]:
        return iter(self._source.infos)

    def __len__(self) -> int:
        return len(self._source.infos)

    def __repr__(self) -> str:
        return f"Checkpoint({str(self.path)!r}, format={self.format!r}, tensors={len(self)})"

    def linear_layers(self) -> list[LinearLayer]:
        """The weight matrices of linear layers, in the order of the forward pass; no embedding, no norm.

        An `lm_head` counts only where it is not tied to the embedding.
        """
        shapes = {name: info.shape for name, info in self._source.infos.items()}
        return linear_layers(shapes, self.config or {})
