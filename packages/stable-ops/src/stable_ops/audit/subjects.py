"""What a command line names: a function that makes a module, a checkpoint, or a file of tensors."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from mfi_command import BadInput, require

_ARRAYS = (".npz", ".npy")
_CHECKPOINTS = (".gguf", ".bin", ".pt", ".pth")


def load_subject(name: str) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Import "module:object" and call it for (module, inputs); its code is run.

    Parameters
    ----------
    name : str
        The object is a function without parameters that returns a torch module (or any callable) and its
        example inputs, a tensor or a tuple. Modules of the current directory count.

    Returns
    -------
    module, inputs
        As `audit` takes them.

    Raises
    ------
    BadInput
        Nothing of that name, or it does not return a pair.
    """
    from stable_ops.testing.target import load_function

    factory = load_function(name)
    try:
        made = factory()
    except Exception as error:  # the factory is not ours: whatever it raises is bad input
        message = f"{type(error).__name__}: {error}".splitlines()[0]
        raise BadInput(f"{name}() fails, {message}: it must return (module, inputs)") from error
    if not (isinstance(made, tuple) and len(made) == 2 and callable(made[0])):
        raise BadInput(f"{name}() returns {type(made).__name__}: it must return (module, inputs)")
    module, inputs = made
    return module, tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)


def load_checkpoint(
    model: str, *, text: str | Path | None = None, tokens: int = 128
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """A checkpoint in float32 and the first tokens of a text, through checkpoint-lens.

    Parameters
    ----------
    model : str
        A folder in the Hugging Face layout, a file, or "reference", the model bundled with checkpoint-lens.
    text : path, optional
        A file in UTF-8; the calibration text bundled with checkpoint-lens unless given.
    tokens : int
        Length of the one sequence that is run.

    Returns
    -------
    model, inputs
        As `audit` takes them; the inputs are token ids of shape (1, tokens).

    Raises
    ------
    BadInput
        No checkpoint-lens, no such model, a model that is not supported, a text of no tokens.
    """
    lens: Any = _checkpoint_lens()
    torch: Any = require("torch", extra="torch", distribution="mfi-stable-ops")
    if tokens < 1:
        raise BadInput(f"tokens must be at least 1, got {tokens}")
    loaded = lens.load_model(model)
    written = lens.reference_text("calibration") if text is None else _read_text(Path(text))
    # Characters per token are at least one; the tokenizer need not read a book.
    ids = loaded.tokenizer.encode(written[: 16 * tokens])[:tokens]
    if not ids:
        raise BadInput(f"{text} holds no token: give a text of a few sentences")
    return loaded, (torch.tensor([ids]),)


def _checkpoint_lens() -> ModuleType:
    # A neighbour, not a dependency: what opens checkpoints is used where it happens to be installed.
    try:
        return importlib.import_module("checkpoint_lens")
    except ModuleNotFoundError:
        raise BadInput(
            "opening a checkpoint needs checkpoint-lens: pip install 'checkpoint-lens[torch]'"
        ) from None


def load_tensors(path: str | Path) -> Mapping[str, Any]:
    """The tensors of a .npz, .npy or .safetensors file (the last through checkpoint-lens), read on demand.

    Parameters
    ----------
    path : str or Path
        The one tensor of a .npy file is named after the file.

    Returns
    -------
    mapping of names to numpy arrays
        As `audit_tensors` and `stagnation` take it.

    Raises
    ------
    BadInput
        A file that is damaged, of another format, holds Python objects, or no tensor.
    OSError
        No such file.
    """
    path = Path(path)
    if path.suffix not in _ARRAYS:
        lens: Any = _checkpoint_lens()
        checkpoint: Mapping[str, Any] = lens.open_checkpoint(path)
        return checkpoint
    try:
        opened = np.load(path, allow_pickle=False)
        return {path.stem: opened} if isinstance(opened, np.ndarray) else _Archive(opened)
    except (ValueError, EOFError, KeyError) as error:
        raise BadInput(f"{path} is no {path.suffix[1:]} file of numbers: {error}".splitlines()[0]) from error
    except OSError:
        raise
    except Exception as error:  # zipfile.BadZipFile, zlib.error and others of a damaged archive
        raise BadInput(f"{path} is damaged: {error}".splitlines()[0]) from error


class _Archive(Mapping[str, Any]):
    """An .npz whose damaged members are bad input too."""

    def __init__(self, archive: Any) -> None:
        self._archive = archive

    def __getitem__(self, name: str) -> Any:
        try:
            return self._archive[name]
        except KeyError:
            raise
        except Exception as error:
            raise BadInput(f"{name} cannot be read: {error}".splitlines()[0]) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._archive.files)

    def __len__(self) -> int:
        return len(self._archive.files)


def kind_of(subject: str) -> str:
    """Whether a subject names a "function", a "checkpoint" or "tensors"."""
    path = Path(subject)
    if subject == "reference" or path.is_dir() or path.suffix in _CHECKPOINTS:
        return "checkpoint"
    if path.suffix in (*_ARRAYS, ".safetensors"):
        return "tensors"
    if ":" not in subject and ("/" in subject or path.exists()):
        raise BadInput(
            f"{subject} is nothing to audit: pass module:object, a model's folder, 'reference', or a file "
            f"({', '.join((*_ARRAYS, '.safetensors', *_CHECKPOINTS))})"
        )
    return "function"


def _read_text(path: Path) -> str:
    try:
        written = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not text in UTF-8: {error}") from error
    if not written.strip():
        raise BadInput(f"{path} holds no text: give a few sentences")
    return written
