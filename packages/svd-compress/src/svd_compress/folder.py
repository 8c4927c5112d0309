"""The compressed checkpoint on disk: which files, which names, written shard by shard.

A folder holds `factored.safetensors` (or numbered shards of it), `svd_compress.json`, `config.json` and the
tokenizer's files. A factored layer `base` is stored as `base.left` and `base.right` in place of
`base.weight`; everything else keeps its name, shape and dtype. In the form "two", `left` is (out, rank),
`right` (rank, in), and the weights are left @ right. In the form "pivoted" there is a third tensor
`base.pivots`, int32 (rank,): `right` (rank, in) gives those outputs and `left` (out - rank, rank) times them
gives all others, in order.

The weights are not called model.safetensors on purpose: a loader that does not know the layout finds no
weights and says so, where it would otherwise fill the missing matrices with random numbers.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfi_command import BadInput, atomic_directory
from svd_compress.allocation import Layout

if TYPE_CHECKING:
    import torch

    from checkpoint_lens import Checkpoint

STEM, MANIFEST, LAYOUT = "factored", "svd_compress.json", 2
# No more than this and one tensor is in memory while a folder is written.
SHARD_BYTES = 2 << 30
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
    """One layer as it is stored, tensors of the stored dtype; `pivots` is None in the form "two"."""

    left: torch.Tensor
    right: torch.Tensor
    pivots: torch.Tensor | None = None

    @property
    def rank(self) -> int:
        """Rows of `right`."""
        return len(self.right)

    @property
    def form(self) -> Layout:
        """How the two are to be put together."""
        return "two" if self.pivots is None else "pivoted"

    def in_two(self) -> Factors:
        """Two full factors of the same product, in memory of their own."""
        from svd_compress.pivoting import Pivoted, unpivot

        if self.pivots is None:
            return Factors(self.left.clone(), self.right.clone())
        left, right = unpivot(Pivoted(self.left, self.right, self.pivots.long()))
        return Factors(left.float(), right.float())

    def tensors(self) -> dict[str, torch.Tensor]:
        """By the endings of their names."""
        both = {"left": self.left.contiguous(), "right": self.right.contiguous()}
        return both if self.pivots is None else {**both, "pivots": self.pivots.contiguous()}

    def dense(self) -> torch.Tensor:
        """The weights that they stand for, float32 at least."""
        import torch

        from svd_compress.pivoting import Pivoted

        wide = torch.promote_types(self.left.dtype, torch.float32)
        left, right = self.left.to(wide), self.right.to(wide)
        return left @ right if self.pivots is None else Pivoted(left, right, self.pivots.long()).dense()


def stored_dtype(checkpoint: Checkpoint, tensor: str) -> torch.dtype:
    """The dtype this tensor is stored in: its own, float16 where that is a block format."""
    import torch

    own = getattr(torch, checkpoint.tensors[tensor].dtype, None)
    wide = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
    return own if own in wide else torch.float16


def own_tensors(checkpoint: Checkpoint) -> list[str]:
    """Names of the tensors that count and are written: of a tied head stored twice, only the embedding."""
    tied = bool((checkpoint.config or {}).get("tie_word_embeddings"))
    return [name for name in checkpoint if not (tied and name.rpartition(".")[0] == "lm_head")]


def write_folder(
    output: str | Path,
    checkpoint: Checkpoint,
    factors: Mapping[str, Factors],
    report: Mapping[str, Any],
    *,
    fold: bool = False,
    shard_bytes: int = SHARD_BYTES,
) -> int:
    """Write the compressed checkpoint, whole or not at all; return the bytes of its weights files.

    Parameters
    ----------
    output
        A new or empty folder.
    checkpoint, factors
        Where everything else comes from, one tensor at a time, and what replaces the factored layers.
    report
        Goes into the manifest.
    fold
        Write the products of the factors as dense weights under their own names in `model.safetensors`: any
        tool loads that, and it is no smaller.
    shard_bytes
        Size from which another file is begun. Peak memory: so much, and the largest tensor.

    Raises
    ------
    BadInput
        If `output` exists and is not an empty folder, or the checkpoint has no config.json.
    """
    if checkpoint.config is None:
        raise BadInput(f"{checkpoint.path} has no config.json; a compressed model could not run without")
    with atomic_directory(output) as folder:
        stem = "model" if fold else STEM
        files = _write_shards(folder, stem, _pieces(checkpoint, factors, fold=fold), shard_bytes)
        layers = {name: {"rank": pair.rank, "form": pair.form} for name, pair in factors.items()}
        manifest = {"layout": LAYOUT, "folded": fold, "files": files, "factored": layers, **report}
        _write_json(folder / MANIFEST, manifest)
        _write_json(folder / "config.json", checkpoint.config)
        _copy_tokenizer(checkpoint, folder)
        return sum((folder / name).stat().st_size for name in files)


def _pieces(
    checkpoint: Checkpoint, factors: Mapping[str, Factors], *, fold: bool
) -> Iterator[tuple[str, torch.Tensor]]:
    for name in own_tensors(checkpoint):
        base = name.removesuffix(".weight")
        pair = factors.get(base) if name.endswith(".weight") else None
        if pair is None:
            yield name, as_stored(checkpoint, name)
        elif fold:
            yield name, pair.dense().to(pair.left.dtype).contiguous()
        else:
            for part, tensor in pair.tensors().items():
                yield f"{base}.{part}", tensor


def _write_shards(
    folder: Path, stem: str, pieces: Iterator[tuple[str, torch.Tensor]], shard_bytes: int
) -> list[str]:
    """Write the tensors as they come, a file whenever one is full; the names of the files."""
    from safetensors.torch import save_file

    written: list[tuple[Path, list[str]]] = []
    held: dict[str, torch.Tensor] = {}

    def write() -> None:
        path = folder / f"{stem}.part{len(written)}"
        save_file(held, path, metadata={"format": "pt"})
        # safetensors makes its files private to the user; a checkpoint is for whoever reads the folder.
        path.chmod(0o644)
        written.append((path, list(held)))
        held.clear()

    for name, tensor in pieces:
        if held and sum(t.nbytes for t in held.values()) + tensor.nbytes > shard_bytes:
            write()
        held[name] = tensor
    write()
    return _name_shards(folder, stem, written)


def _name_shards(folder: Path, stem: str, written: list[tuple[Path, list[str]]]) -> list[str]:
    if len(written) == 1:
        written[0][0].rename(folder / f"{stem}.safetensors")
        return [f"{stem}.safetensors"]
    names, places = [], {}
    for number, (path, tensors) in enumerate(written, 1):
        name = f"{stem}-{number:05}-of-{len(written):05}.safetensors"
        path.rename(folder / name)
        names.append(name)
        places.update(dict.fromkeys(tensors, name))
    total = sum((folder / name).stat().st_size for name in names)
    index = {"metadata": {"total_size": total}, "weight_map": places}
    _write_json(folder / f"{stem}.safetensors.index.json", index)
    return names


def as_stored(checkpoint: Mapping[str, Any], name: str) -> torch.Tensor:
    """A tensor of the checkpoint in the dtype it is written in."""
    import numpy as np
    import torch

    array = checkpoint[name]
    if array.dtype.kind in "iu":
        return torch.from_numpy(np.ascontiguousarray(array))
    dtype = stored_dtype(checkpoint, name)  # type: ignore[arg-type]
    # float32 holds every 16-bit value exactly, and torch cannot read ml_dtypes.
    wide = array if array.dtype == np.float64 else array.astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(wide)).to(dtype)


def dense_bytes(checkpoint: Checkpoint) -> int:
    """Bytes of all weights in the dtype they would be written in."""
    infos = checkpoint.tensors
    return sum(
        math.prod(infos[name].shape) * stored_dtype(checkpoint, name).itemsize
        for name in own_tensors(checkpoint)
    )


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
        layout = manifest["layout"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path} is damaged ({error}); compress the model again") from error
    if layout != LAYOUT:
        raise BadInput(f"{path} has layout {layout!r}; this version reads layout {LAYOUT}")
    if not isinstance(manifest.get("factored"), dict) or not isinstance(manifest.get("files"), list):
        raise BadInput(f"{path} is damaged (no list of layers and files); compress the model again")
    return dict(manifest)
