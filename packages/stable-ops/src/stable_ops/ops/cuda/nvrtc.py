"""NVIDIA's run-time compiler, which comes with torch for CUDA."""

# Triton carries no types.
# mypy: disable-error-code="import-untyped"

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from triton.runtime.cache import get_cache_manager


@functools.cache
def library() -> Any:
    """The compiler, or None where there is none."""
    for name in _names():
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def _names() -> Iterator[str]:
    major = (torch.version.cuda or "0").split(".")[0]
    yield f"libnvrtc.so.{major}"
    found = importlib.util.find_spec("nvidia")
    for folder in found.submodule_search_locations or () if found else ():
        yield from map(str, sorted(Path(folder).glob(f"*/lib/libnvrtc.so.{major}")))


def compiled(source: str, name: str, architecture: str) -> bytes:
    """The machine code of a source; kept in Triton's cache folder.

    Raises
    ------
    RuntimeError
        The compiler's log, if it refuses the source.
    """
    version = ctypes.c_int(), ctypes.c_int()
    _check(library().nvrtcVersion(ctypes.byref(version[0]), ctypes.byref(version[1])))
    key = f"{[part.value for part in version]} {architecture} {source}"
    # Of the form of Triton's own keys, which become folders.
    cache = get_cache_manager(hashlib.sha256(key.encode()).hexdigest())
    file = f"{name}.cubin"
    kept = cache.get_file(file)
    if kept is None:
        kept = cache.put(_compile(source, name, architecture), file, binary=True)
    return Path(kept).read_bytes()


def _compile(source: str, name: str, architecture: str) -> bytes:
    nvrtc, program = library(), ctypes.c_void_p()
    _check(
        nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), f"{name}.cu".encode(), 0, None, None)
    )
    try:
        options = [f"--gpu-architecture={architecture}".encode(), b"--std=c++17"]
        answer = nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
        if answer:
            raise RuntimeError(_bytes("ProgramLog", program).decode(errors="replace"))
        return _bytes("CUBIN", program)
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _bytes(what: str, program: Any) -> bytes:
    size = ctypes.c_size_t()
    _check(getattr(library(), f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    _check(getattr(library(), f"nvrtcGet{what}")(program, buffer))
    return buffer.raw


def _check(answer: int) -> None:
    if answer:
        library().nvrtcGetErrorString.restype = ctypes.c_char_p
        raise RuntimeError(f"nvrtc: {library().nvrtcGetErrorString(answer).decode()}")
