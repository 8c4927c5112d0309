"""Launches in clusters of thread blocks, by the CUDA driver."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

import torch

_DYNAMIC_SHARED = 8
_UNUSUAL_CLUSTER = 14
_CLUSTER_DIMENSION = 4
# Clusters of more blocks are possible on some devices only, and have to be asked for.
_PORTABLE_BLOCKS = 8


class _Attribute(ctypes.Structure):
    _fields_ = (
        ("id", ctypes.c_int),
        ("pad", ctypes.c_char * 4),
        ("x", ctypes.c_uint),
        ("y", ctypes.c_uint),
        ("z", ctypes.c_uint),
        ("rest", ctypes.c_char * 52),
    )


class _Configuration(ctypes.Structure):
    _fields_ = (
        ("grid_x", ctypes.c_uint),
        ("grid_y", ctypes.c_uint),
        ("grid_z", ctypes.c_uint),
        ("block_x", ctypes.c_uint),
        ("block_y", ctypes.c_uint),
        ("block_z", ctypes.c_uint),
        ("shared_bytes", ctypes.c_uint),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.POINTER(_Attribute)),
        ("attribute_count", ctypes.c_uint),
    )


@functools.cache
def _driver() -> Any:
    # The interpreter's lock is kept during a call: arguments are shared by the threads that launch a kernel.
    return ctypes.PyDLL("libcuda.so.1")


def _check(answer: int, what: str) -> None:
    if answer:
        name = ctypes.c_char_p()
        _driver().cuGetErrorName(answer, ctypes.byref(name))
        raise RuntimeError(f"{what}: {(name.value or b'unknown error').decode()}")


class Kernel:
    """A kernel of the current device, with `threads` to a block and `blocks` to a cluster.

    `arguments` are ctypes types in the order of its parameters.
    """

    def __init__(
        self,
        code: bytes,
        name: str,
        arguments: Sequence[Any],
        *,
        threads: int,
        blocks: int,
        shared_bytes: int,
    ) -> None:
        # torch has made the context that the driver works in.
        torch.cuda.current_stream()
        self._module, self._function = ctypes.c_void_p(), ctypes.c_void_p()
        driver = _driver()
        _check(driver.cuModuleLoadData(ctypes.byref(self._module), code), "loading a kernel")
        _check(
            driver.cuModuleGetFunction(ctypes.byref(self._function), self._module, name.encode()),
            "finding a kernel",
        )
        settings = {_DYNAMIC_SHARED: shared_bytes} | (
            {_UNUSUAL_CLUSTER: 1} if blocks > _PORTABLE_BLOCKS else {}
        )
        for setting, value in settings.items():
            _check(driver.cuFuncSetAttribute(self._function, setting, value), "preparing a kernel")
        self._values = [kind() for kind in arguments]
        self._pointers = (ctypes.c_void_p * len(self._values))(
            *(ctypes.addressof(value) for value in self._values)
        )
        self._cluster = _Attribute(_CLUSTER_DIMENSION, b"", blocks, 1, 1)
        self._blocks = blocks
        self._launch = _Configuration(
            blocks, 1, 1, threads, 1, 1, shared_bytes, None, ctypes.pointer(self._cluster), 1
        )

    @functools.cached_property
    def clusters(self) -> int:
        """How many clusters the device holds at once."""
        found = ctypes.c_int()
        answer = _driver().cuOccupancyMaxActiveClusters(
            ctypes.byref(found), self._function, ctypes.byref(self._launch)
        )
        _check(answer, "asking for room")
        if found.value < 1:
            raise RuntimeError("the device has no room for a cluster of this kernel")
        return found.value

    def __call__(self, clusters: int, *arguments: Any) -> None:
        """Run so many clusters on the current stream."""
        for value, given in zip(self._values, arguments, strict=True):
            value.value = given
        self._launch.grid_x = clusters * self._blocks
        self._launch.stream = torch.cuda.current_stream().cuda_stream
        _check(
            _driver().cuLaunchKernelEx(ctypes.byref(self._launch), self._function, self._pointers, None),
            "launching a kernel",
        )
