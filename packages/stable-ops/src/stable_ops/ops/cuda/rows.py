"""softmax and norms of rows that stream through the shared memory of clusters (`rows.cu`)."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from stable_ops.ops.cuda import nvrtc
from stable_ops.ops.cuda.driver import Kernel

PER_VECTOR = 8
# What a block of an H100 may have.
SHARED_BYTES = 227 * 1024
_POINTER, _LONG, _INT, _DOUBLE = ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_double


@dataclass(frozen=True)
class Plan:
    """How rows of a length are computed; nothing in it that bits depend on follows from how many there are.

    Attributes
    ----------
    part
        Numbers of a row to a block, at most.
    threads
        Of a team; each team of a block has rows of its own.
    teams
        To a block.
    stages
        Rows of a team that are in shared memory, or on their way there.
    resident
        Blocks that a multiprocessor is to hold.
    wide
        Weights and biases are kept as float32, so that they are not converted again for each row.
    streamed
        The caches are told that rows and results are used once.
    """

    part: int
    threads: int
    teams: int
    stages: int
    resident: int = 1
    wide: bool = True
    streamed: bool = False

    def blocks(self, length: int) -> int:
        """Of a cluster."""
        return -(-length // self.part)

    def slice(self, length: int) -> int:
        """Numbers to a block, whole vectors."""
        blocks = self.blocks(length)
        return -(-length // (blocks * PER_VECTOR)) * PER_VECTOR

    def shared_bytes(self, length: int, vectors: int) -> int:
        """Of a block, which keeps weights, biases or neither beside its rows: so many vectors."""
        return self.slice(length) * (2 * self.teams * self.stages + (4 if self.wide else 2) * vectors)


@functools.cache
def available(device: Any) -> bool:
    """Whether the device has clusters and enough shared memory, and there is a compiler."""
    if device.type != "cuda" or os.environ.get("TRITON_INTERPRET") == "1":
        return False
    about = torch.cuda.get_device_properties(device)
    enough = about.shared_memory_per_block_optin >= SHARED_BYTES
    return about.major >= 9 and enough and nvrtc.library() is not None


def source(name: str, constants: dict[str, Any]) -> str:
    """A kernel's source with what it has in common with others, and with these constants."""
    folder = Path(__file__).parent
    files = ((folder / f"{part}.cu").read_text(encoding="utf-8") for part in ("rows", name))
    return "\n".join([*(f"#define {key} {value}" for key, value in constants.items()), *files])


def build(
    name: str,
    constants: dict[str, Any],
    arguments: list[Any],
    device: Any,
    *,
    threads: int,
    blocks: int,
    shared_bytes: int,
) -> Kernel:
    """The kernel of a source file with these constants, for clusters of so many blocks."""
    about = torch.cuda.get_device_properties(device)
    code = nvrtc.compiled(source(name, constants), name, f"sm_{about.major}{about.minor}")
    with torch.cuda.device(device):
        return Kernel(code, name, arguments, threads=threads, blocks=blocks, shared_bytes=shared_bytes)


def _kernel(
    name: str,
    definitions: dict[str, Any],
    arguments: list[Any],
    plan: Plan,
    length: int,
    vectors: int,
    device: Any,
) -> Kernel:
    constants = {
        "THREADS": plan.threads,
        "TEAMS": plan.teams,
        "RESIDENT": plan.resident,
        "STREAMED": int(plan.streamed),
        **definitions,
    }
    return build(
        name,
        constants,
        arguments,
        device,
        threads=plan.threads * plan.teams,
        blocks=plan.blocks(length),
        shared_bytes=plan.shared_bytes(length, vectors),
    )


def softmax(plan: Plan, length: int, device: Any) -> Callable[[Any, Any, int], None]:
    """What computes the softmax of rows of bfloat16, their length a multiple of 8."""
    arguments = [_POINTER, _POINTER, _LONG, _INT, _INT, _INT]
    kernel = _kernel("softmax", {}, arguments, plan, length, 0, device)
    part = plan.slice(length)

    def start(x: Any, y: Any, count: int) -> None:
        clusters = min(-(-count // plan.teams), kernel.clusters)
        kernel(clusters, x.data_ptr(), y.data_ptr(), count, length, part, plan.stages)

    return start


def norms(
    plan: Plan, length: int, device: Any, *, bf16: bool, eps: float, offset: float, **form: bool
) -> Callable[[int, Any, Any, Any, Any], None]:
    """What computes layer_norm or rms_norm of 16-bit rows, their length a multiple of 8.

    `form` has `centre`, `twice`, `scale` and `shift`, as the kernels in Triton.
    """
    flags = {"bf16": bf16, **form, "offset": offset != 0.0, "wide": plan.wide}
    definitions = {key.upper(): int(value) for key, value in flags.items()}
    arguments = [_POINTER] * 4 + [_LONG, _INT, _INT, _INT, _DOUBLE, _DOUBLE, _DOUBLE]
    vectors = form["scale"] + form["shift"]
    kernel = _kernel("norms", definitions, arguments, plan, length, vectors, device)
    part = plan.slice(length)

    def start(count: int, x: Any, w: Any, b: Any, y: Any) -> None:
        clusters = min(-(-count // plan.teams), kernel.clusters)
        pointers = (one.data_ptr() for one in (x, w, b, y))
        kernel(clusters, *pointers, count, length, part, plan.stages, 1 / length, eps, offset)

    return start
