"""Output that exists whole or not at all: written beside its place, then renamed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mfi_command.errors import BadInput


def _usable_parent(path: Path) -> Path:
    parent = path.parent
    if not parent.is_dir():
        raise BadInput(f"cannot write {path}: there is no directory {parent}; make it first")
    return parent


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, with the same ending, and rename it onto `path` on success.

    Raises
    ------
    BadInput
        If the directory of `path` does not exist, or `path` is a directory.
    """
    target = Path(path)
    parent = _usable_parent(target)
    if target.is_dir():
        raise BadInput(f"cannot write {target}: it is a directory; name a file")
    handle, name = tempfile.mkstemp(dir=parent, prefix=f".{target.stem}-", suffix=target.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes the file private; an ordinary new file follows the umask.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """Give a temporary directory beside `path` and rename it to `path` on success.

    Raises
    ------
    BadInput
        If the parent does not exist, or `path` exists and is not an empty directory.
    """
    target = Path(path)
    parent = _usable_parent(target)
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise BadInput(
            f"cannot write {target}: it exists and is not empty; name a new directory or remove it"
        )
    temporary = Path(tempfile.mkdtemp(dir=parent, prefix=f".{target.name}-"))
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o777 & ~umask)
        if target.exists():
            target.rmdir()
        temporary.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
