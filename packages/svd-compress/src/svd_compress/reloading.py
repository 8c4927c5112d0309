"""From a compressed folder back to a model that runs."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mfi_command import BadInput
from svd_compress.folder import TOKENIZER_FILES, Factors, as_stored, read_manifest

if TYPE_CHECKING:
    import torch
    from torch import nn

    from checkpoint_lens import CausalLM, Checkpoint


def load_compressed(folder: str | Path, dtype: str = "float32") -> CausalLM:
    """Load what `compress` wrote: a model whose factored layers multiply by two thin matrices.

    Parameters
    ----------
    folder
        A folder written by `compress`.
    dtype
        As for `checkpoint_lens.load_model`.

    Returns
    -------
    CausalLM
        On the CPU, in evaluation mode; its factored layers are of `svd_compress.factored`. Peak memory: the
        model and one dense layer (for architectures that only transformers knows, a dense copy on disk
        besides).

    Raises
    ------
    BadInput
        If the manifest, a factor or any other tensor is missing, left over, of the wrong shape, or not
        finite: no layer is ever filled with anything else.
    """
    import torch

    from checkpoint_lens import load_model

    source = Path(folder)
    manifest = read_manifest(source)
    if manifest.get("folded"):
        return load_model(source, dtype=dtype)
    folded = FoldedSource(source, manifest)
    model = _dense(source, folded, dtype)
    layers = model.linear_layers()
    for name in folded.layers:
        if name not in layers:
            raise BadInput(f"{source}: the manifest names a layer {name!r} that the model does not have")
        model.replace_layer(name, as_module(folded.factors(name), getattr(torch, dtype), layers[name].bias))
    return model.eval()


def as_module(pair: Factors, dtype: torch.dtype, bias: torch.Tensor | None) -> nn.Module:
    """The layer that multiplies by these factors."""
    from svd_compress.factored import FactoredLinear, PivotedLinear

    left, right = pair.left.to(dtype), pair.right.to(dtype)
    if pair.pivots is None:
        return FactoredLinear(left, right, bias)
    return PivotedLinear(left, right, pair.pivots.long(), bias)


class FoldedSource:
    """A compressed folder seen as a checkpoint of dense weights: each product is made when it is read."""

    def __init__(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        self.folder = folder
        self.layers: dict[str, Any] = dict(manifest["factored"])
        self.files = list(manifest["files"])
        self._stored = dict(_open_shards(folder, self.files))
        self.infos = self._describe()

    def factors(self, name: str) -> Factors:
        """The factors of one layer, checked against the manifest."""
        import torch

        rank, form = self.layers[name].get("rank"), self.layers[name].get("form")
        wanted = ["left", "right"] + (["pivots"] if form == "pivoted" else [])
        for part in wanted:
            if f"{name}.{part}" not in self._stored:
                raise BadInput(f"{self.folder} lacks the factor {name}.{part}; compress the model again")
        parts = {part: as_stored(self._stored[f"{name}.{part}"], f"{name}.{part}") for part in wanted}
        pair = Factors(parts["left"], parts["right"], parts.get("pivots"))
        self._check(name, pair, rank)
        if not all(bool(torch.isfinite(part).all()) for part in (pair.left, pair.right)):
            raise BadInput(f"{self.folder}: a factor of {name} holds NaN or infinite values")
        return pair

    def _check(self, name: str, pair: Factors, rank: object) -> None:
        fits = pair.left.ndim == 2 and pair.right.ndim == 2 and pair.left.shape[1] == pair.rank == rank
        if fits and pair.pivots is not None:
            out = len(pair.left) + pair.rank
            inside = bool(((pair.pivots >= 0) & (pair.pivots < out)).all())
            fits = inside and len(set(pair.pivots.tolist())) == pair.rank == len(pair.pivots)
        if not fits:
            raise BadInput(
                f"{self.folder}: the factors of {name} have shapes {tuple(pair.left.shape)} and "
                f"{tuple(pair.right.shape)}, which do not make the rank {rank} of the manifest"
            )

    def read(self, name: str) -> np.ndarray[Any, Any]:
        """One tensor; of a factored layer the product."""
        base = name.removesuffix(".weight")
        if name.endswith(".weight") and base in self.layers:
            return self.factors(base).dense().numpy()
        return self._stored[name][name]

    def _describe(self) -> dict[str, Any]:
        from checkpoint_lens.checkpoint import TensorInfo

        parts = {f"{name}.{part}" for name in self.layers for part in ("left", "right", "pivots")}
        infos = {name: shard.tensors[name] for name, shard in self._stored.items() if name not in parts}
        for name in self.layers:
            pair = self.factors(name)
            out = len(pair.left) + (0 if pair.pivots is None else pair.rank)
            shape = (out, pair.right.shape[1])
            infos[f"{name}.weight"] = TensorInfo(f"{name}.weight", shape, "float32", 4 * shape[0] * shape[1])
        return infos


def _open_shards(folder: Path, files: list[str]) -> Iterator[tuple[str, Checkpoint]]:
    from checkpoint_lens import open_checkpoint

    for file in files:
        if Path(file).name != file or not (folder / file).is_file():
            raise BadInput(f"{folder} has no {file}; compress the model again")
        shard = open_checkpoint(folder / file)
        for name in shard:
            yield name, shard


def _dense(folder: Path, folded: FoldedSource, dtype: str) -> CausalLM:
    """The model with dense products, built without a copy on disk where checkpoint_lens knows its shape."""
    import torch

    from checkpoint_lens import load_model
    from checkpoint_lens.checkpoint import Checkpoint
    from checkpoint_lens.llama.filling import llama_from
    from checkpoint_lens.llama.shape import is_llama_shaped
    from checkpoint_lens.tokens import open_tokenizer

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if is_llama_shaped(config):
        checkpoint = Checkpoint(folder, folder / folded.files[0], "safetensors", folded, config)
        return llama_from(checkpoint, getattr(torch, dtype), lambda: open_tokenizer(folder))
    from safetensors.torch import save_file

    with tempfile.TemporaryDirectory() as made:
        dense = Path(made)
        tensors = {
            name: torch.from_numpy(np.ascontiguousarray(folded.read(name).astype(np.float32)))
            for name in folded.infos
        }
        save_file(tensors, dense / "model.safetensors", metadata={"format": "pt"})
        for name in ("config.json", *TOKENIZER_FILES):
            if (folder / name).is_file():
                shutil.copyfile(folder / name, dense / name)
        model = load_model(dense, dtype=dtype)
        if (dense / "tokenizer.json").is_file():
            model.tokenizer  # noqa: B018  # opened while its file is there
        return model
