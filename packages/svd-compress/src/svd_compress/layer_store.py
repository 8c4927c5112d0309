"""Finished layers on disk, so that long work resumes and memory holds one of them at a time."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from pathlib import Path

from mfi_command import BadInput, atomic_file
from svd_compress.preparation import PreparedLayer


class LayerStore(MutableMapping[str, PreparedLayer]):
    """Prepared layers by name, a safetensors file each, whole or not at all.

    Parameters
    ----------
    path
        A folder; made with its parents if it does not exist.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise BadInput(f"{self.path} is a file; a folder for finished layers is expected")
        self.path.mkdir(parents=True, exist_ok=True)

    def _file(self, name: str) -> Path:
        if "/" in name or name.startswith("."):
            raise BadInput(f"{name!r} is no name of a layer that a file can have")
        return self.path / f"{name}.safetensors"

    def __getitem__(self, name: str) -> PreparedLayer:
        import torch
        from safetensors.torch import load_file

        from svd_compress.factoring import Factoring

        if name not in self:
            raise KeyError(name)
        held = load_file(self._file(name))
        left, right = held["left"], held["right"]
        factors = Factoring(left, right, held["energies"].to(torch.float64))
        return PreparedLayer(
            (left.shape[0], right.shape[1]), factors, held["losses"].numpy(), held.get("gradients")
        )

    def __setitem__(self, name: str, layer: PreparedLayer) -> None:
        import torch
        from safetensors.torch import save_file

        tensors = {
            "left": layer.factors.left,
            "right": layer.factors.right,
            "energies": layer.factors.energies,
            "losses": torch.from_numpy(layer.losses.copy()),
        }
        if layer.gradients is not None:
            tensors["gradients"] = layer.gradients
        with atomic_file(self._file(name)) as path:
            save_file({key: value.contiguous().cpu() for key, value in tensors.items()}, path)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._file(name).is_file()

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self._file(name).unlink()

    def __iter__(self) -> Iterator[str]:
        # A run that was killed may leave a temporary file; its name starts with a dot.
        return (
            file.stem for file in sorted(self.path.glob("*.safetensors")) if not file.name.startswith(".")
        )

    def __len__(self) -> int:
        return sum(1 for _ in self)
