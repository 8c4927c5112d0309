"""The compressed checkpoint on disk: which files, which names, and the way back to a model that runs.

A folder holds `factored.safetensors`, `svd_compress.json`, `config.json` and the tokenizer's files. A
factored layer `base` is stored as `base.left` (out, rank) and `base.right` (rank, in) in place of
`base.weight`; everything else keeps its name, shape and dtype. The weights are not called
model.safetensors on purpose: a loader that does not know the layout finds no weights and says so, where
it would otherwise fill the missing matrices with random numbers.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfi_command import BadInput, atomic_directory

if TYPE_CHECKING:
    import torch

    from checkpoint_lens import CausalLM, Checkpoint

WEIGHTS, MANIFEST, LAYOUT = "factored.safetensors", "svd_compress.json", 1
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
)


@dataclass(frozen=True)
class Factors:
    """One layer as it is stored: `left` (out, rank), `right` (rank, in), tensors of the stored dtype."""

    left: torch.Tensor
    right: torch.Tensor


def stored_dtype(checkpoint: Checkpoint, tensor: str) -> torch.dtype:
    """The dtype this tensor is stored in: its own, float16 where that is a block format."""
    import torch

    own = getattr(torch, checkpoint.tensors[tensor].dtype, None)
    wide = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
    return own if own in wide else torch.float16


def write_folder(
    output: str | Path, checkpoint: Checkpoint, factors: Mapping[str, Factors], report: Mapping[str, Any]
) -> int:
    """Write the compressed checkpoint, whole or not at all; return the bytes of its weights file.

    Peak memory is one copy of the compressed weights.

    Raises
    ------
    BadInput
        If `output` exists and is not an empty folder, or the checkpoint has no config.json.
    """
    from safetensors.torch import save_file

    if checkpoint.config is None:
        raise BadInput(f"{checkpoint.path} has no config.json; a compressed model could not run without")
    with atomic_directory(output) as folder:
        save_file(_tensors(checkpoint, factors), folder / WEIGHTS, metadata={"format": "pt"})
        # safetensors makes its files private to the user; a checkpoint is for whoever reads the folder.
        (folder / WEIGHTS).chmod(0o644)
        ranks = {name: int(pair.left.shape[1]) for name, pair in factors.items()}
        _write_json(folder / MANIFEST, {"layout": LAYOUT, "ranks": ranks, **report})
        _write_json(folder / "config.json", checkpoint.config)
        _copy_tokenizer(checkpoint, folder)
        return (folder / WEIGHTS).stat().st_size


def _tensors(checkpoint: Checkpoint, factors: Mapping[str, Factors]) -> dict[str, torch.Tensor]:
    out: dict[str, torch.Tensor] = {}
    for name in checkpoint:
        pair = factors.get(name.removesuffix(".weight"))
        if pair is not None and name.endswith(".weight"):
            base = name.removesuffix(".weight")
            out[f"{base}.left"] = pair.left.contiguous()
            out[f"{base}.right"] = pair.right.contiguous()
        else:
            out[name] = as_stored(checkpoint, name)
    return out


def as_stored(checkpoint: Checkpoint, name: str) -> torch.Tensor:
    """A tensor of the checkpoint in the dtype it is written in."""
    import numpy as np
    import torch

    array = checkpoint[name]
    dtype = stored_dtype(checkpoint, name)
    # float32 holds every 16-bit value exactly, and torch cannot read ml_dtypes.
    wide = array if array.dtype == np.float64 else array.astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(wide)).to(dtype)


def _copy_tokenizer(checkpoint: Checkpoint, folder: Path) -> None:
    source = checkpoint.path if checkpoint.path.is_dir() else checkpoint.path.parent
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The manifest of a compressed folder.

    Raises
    ------
    BadInput
        If there is none, or its layout is not one that this version reads.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise BadInput(f"{folder} has no {MANIFEST}; give a folder that svd-compress compress wrote")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        layout, ranks = manifest["layout"], manifest["ranks"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path} is damaged ({error}); compress the model again") from error
    if layout != LAYOUT or not isinstance(ranks, dict):
        raise BadInput(f"{path} has layout {layout!r}; this version reads layout {LAYOUT}")
    return dict(manifest)


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
        On the CPU, in evaluation mode. Its factored layers are `svd_compress.factored.FactoredLinear`.

    Raises
    ------
    BadInput
        If the manifest, a factor or any other tensor is missing, left over, of the wrong shape, or not
        finite: no layer is ever filled with anything else.
    """
    import torch
    from safetensors.torch import save_file

    from checkpoint_lens import load_model, open_checkpoint
    from svd_compress.factored import FactoredLinear

    source = Path(folder)
    ranks = read_manifest(source)["ranks"]
    if not (source / WEIGHTS).is_file():
        raise BadInput(f"{source} has no {WEIGHTS}; compress the model again")
    stored = open_checkpoint(source / WEIGHTS)
    factors = {name: _read_factors(stored, name, rank) for name, rank in ranks.items()}
    # checkpoint_lens builds a model from a checkpoint of dense matrices: one is made, and each product is
    # replaced by its factors at once.
    with tempfile.TemporaryDirectory() as made:
        dense = Path(made)
        save_file(_folded(stored, factors), dense / "model.safetensors")
        for name in ("config.json", *TOKENIZER_FILES):
            if (source / name).is_file():
                shutil.copyfile(source / name, dense / name)
        model = load_model(dense, dtype=dtype)
        if (dense / "tokenizer.json").is_file():
            model.tokenizer  # noqa: B018  # opened while its file is there
    layers = model.linear_layers()
    for name, pair in factors.items():
        if name not in layers:
            raise BadInput(f"{source}: the manifest names a layer {name!r} that the model does not have")
        wanted = getattr(torch, dtype)
        left, right = pair.left.to(wanted), pair.right.to(wanted)
        model.replace_layer(name, FactoredLinear(left, right, layers[name].bias))
    return model.eval()


def _read_factors(stored: Checkpoint, name: str, rank: int) -> Factors:
    for part in (f"{name}.left", f"{name}.right"):
        if part not in stored:
            raise BadInput(f"{stored.path} lacks the factor {part}; compress the model again")
    left, right = as_stored(stored, f"{name}.left"), as_stored(stored, f"{name}.right")
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != rank or right.shape[0] != rank:
        raise BadInput(
            f"{stored.path}: the factors of {name} have shapes {tuple(left.shape)} and {tuple(right.shape)}, "
            f"the manifest says rank {rank}"
        )
    return Factors(left, right)


def _folded(stored: Checkpoint, factors: Mapping[str, Factors]) -> dict[str, torch.Tensor]:
    parts = {f"{name}.{side}" for name in factors for side in ("left", "right")}
    out = {name: as_stored(stored, name) for name in stored if name not in parts}
    for name, pair in factors.items():
        out[f"{name}.weight"] = (pair.left.float() @ pair.right.float()).contiguous()
    return out
