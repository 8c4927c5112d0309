"""Kernels in C for a CPU: compiled at the moment of measuring, by whatever compiler the machine has."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

STREAMS = ("read", "write", "write_nt", "copy", "copy_nt", "add")
CHAINS = 12  # of multiply-adds, as in native.c
_FLAGS = ("-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-shared", "-fPIC")


@dataclass(frozen=True)
class Native:
    """The compiled library, the compiler that made it, and the width of its vectors in bytes."""

    library: Any
    compiler: str
    width_bytes: int

    def stream(self, name: str) -> Any:
        """`f(y, x, elements, passes)` on addresses of float32; it runs without the interpreter's lock."""
        function = getattr(self.library, f"roofline_{name}")
        function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t]
        function.restype = ctypes.c_float if name == "read" else None
        return function

    def chain(self, dtype: str) -> Any:
        """`f(x, y, steps)`: `CHAINS` chains of vector multiply-adds."""
        kind = {"fp32": ctypes.c_float, "fp64": ctypes.c_double}[dtype]
        function = getattr(self.library, f"roofline_fma_{dtype}")
        function.argtypes, function.restype = [kind, kind, ctypes.c_size_t], kind
        return function


def compiled() -> Native | None:
    """The kernels, or None where there is no working C compiler."""
    compiler = next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder, as_file(files("roofline") / "native.c") as source:
        target = Path(folder) / "native.so"
        command = [compiler, *_FLAGS, str(source), "-o", str(target)]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=120)  # noqa: S603
            library = ctypes.CDLL(str(target))  # stays mapped after the file is gone
        except (OSError, subprocess.SubprocessError):
            return None
    return Native(library, _version(compiler), int(library.roofline_width_bytes()))


def _version(compiler: str) -> str:
    done = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)  # noqa: S603
    return (done.stdout.splitlines() or [compiler])[0]
