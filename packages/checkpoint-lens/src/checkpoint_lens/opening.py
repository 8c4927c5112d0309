"""From what a user names (a folder, a file, "reference") to a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from checkpoint_lens.checkpoint import Checkpoint, TensorSource
from mfi_command import BadInput

ENDINGS = (".safetensors", ".gguf", ".npz", ".bin", ".pt", ".pth")
# In the order of preference: the formats that cannot run code first.
_IN_FOLDER = (
    "model.safetensors.index.json",
    "model.safetensors",
    "*.safetensors",
    "*.gguf",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
    "*.bin",
    "*.npz",
)


def open_checkpoint(model: str | Path) -> Checkpoint:
    """Open a checkpoint without reading its tensors.

    Parameters
    ----------
    model
        A folder in the Hugging Face layout (config.json beside one weights file, or shards with an index), a
        file (.safetensors .gguf .npz .bin .pt), or "reference", the bundled model. The config.json of a file
        is the one beside it.

    Returns
    -------
    Checkpoint
        A mapping of names to arrays; each tensor is read when asked for and not kept. bfloat16 and fp8 come
        as ml_dtypes, GGUF blocks dequantized to float32 with names and q/k row order of Hugging Face.

    Raises
    ------
    BadInput
        If there is no such path, no weights, or the file is damaged, of another format, or a pickle that
        holds anything but tensors (it is never run).
    """
    path = resolve(model)
    weights = _weights_in(path) if path.is_dir() else path
    format, source = _open_file(weights)
    config = read_config(weights.parent / "config.json")
    if format == "gguf":
        config = source.config  # type: ignore[attr-defined]
    checkpoint = Checkpoint(path, weights, format, source, config)
    if not len(checkpoint):
        raise BadInput(f"{weights} holds no tensor")
    return checkpoint


def resolve(model: str | Path) -> Path:
    """The path of MODEL; "reference" is the bundled model.

    Raises
    ------
    BadInput
        If nothing is there.
    """
    if model == "reference":
        from checkpoint_lens.bundled import reference_path

        return reference_path()
    path = Path(model)
    if not path.exists():
        raise BadInput(
            f"no such file or folder: {model}; expected a Hugging Face folder, a file ({' '.join(ENDINGS)}) "
            "or 'reference'"
        )
    return path


def read_config(path: Path) -> dict[str, Any] | None:
    """The keys of a config.json, None where there is no file."""
    if not path.is_file():
        return None
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadInput(f"{path} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise BadInput(f"{path} must hold a JSON object, not a {type(config).__name__}")
    return config


def _weights_in(folder: Path) -> Path:
    for pattern in _IN_FOLDER:
        found = sorted(path for path in folder.glob(pattern) if path.is_file())
        if len(found) > 1:
            names = ", ".join(path.name for path in found[:3])
            raise BadInput(
                f"{folder} holds {len(found)} weights files ({names} ...) and no index; name one file"
            )
        if found:
            return found[0]
    raise BadInput(
        f"no weights in {folder}: expected model.safetensors, model.safetensors.index.json, *.gguf, *.npz "
        "or pytorch_model.bin"
    )


def _open_file(path: Path) -> tuple[str, TensorSource]:
    if path.stat().st_size == 0:
        raise BadInput(f"{path} is empty")
    if path.name.endswith(".index.json"):
        from checkpoint_lens.stored.sharded import Shards

        format, opener = _opener(Path(path.name.removesuffix(".index.json")))
        return format, Shards(path, opener)
    format, opener = _opener(path)
    return format, opener(path)


def _opener(path: Path) -> tuple[str, Callable[[Path], TensorSource]]:
    """The format that the ending names, and what opens it (imported only now: each has its own library)."""
    ending = path.suffix.lower()
    if ending == ".safetensors":
        from checkpoint_lens.stored.safetensors_file import SafetensorsFile

        return "safetensors", SafetensorsFile
    if ending == ".gguf":
        from checkpoint_lens.stored.gguf_file import GGUFFile

        return "gguf", GGUFFile
    if ending == ".npz":
        from checkpoint_lens.stored.npz_file import NpzFile

        return "npz", NpzFile
    if ending in (".bin", ".pt", ".pth"):
        from checkpoint_lens.stored.torch_file import TorchFile

        return "torch", TorchFile
    raise BadInput(f"{path}: unknown ending {ending or '(none)'}; expected one of {' '.join(ENDINGS)}")
