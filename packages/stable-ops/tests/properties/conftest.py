"""The places where the same properties are tried, and how often they were."""

import functools
import json
import os
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from stable_ops import accelerate
from stable_ops.arrays import is_tensor
from stable_ops.testing.library import library
from stable_ops.testing.oracles import ours

EXAMPLES = Counter()
# Of numpy arrays, which know a negative step.
ARRAYS = ("numpy", "compiled")


class Backend:
    """Runs an operator of ours on arrays in one library and on one device.

    `exact` says whether its bits are judged, or its logic alone: the interpreter rounds to bfloat16 in its
    own way and fuses no multiply-add.
    """

    exact = True
    longest = 2**20

    def __init__(self, name, given):
        self.name = name
        self.given = given

    def __call__(self, op, *arguments, layout="contiguous", **options):
        return self.given.take(ours(op)(*(self.lay_out(a, layout) for a in arguments), **options))

    def takes_on(self, op, dtype):
        """Whether it can judge that, and one more example if so."""
        able = self.exact or not (dtype == "bfloat16" or (op, dtype) == ("gelu", "float32"))
        EXAMPLES[self.name, op] += able
        return able

    def lay_out(self, x, layout):
        """The array in that layout: of numpy and torch those that both have, and reversed, repeated."""
        if x.ndim < 2 or layout in ("contiguous", "strided", "transposed"):
            return self.given.give(x, "contiguous" if x.ndim < 2 else layout)
        if layout == "repeated":
            row = self.given.give(x[:1])
            return np.broadcast_to(row, x.shape) if self.name in ARRAYS else row.expand(*x.shape)
        reversed_ = np.ascontiguousarray(x[:, ::-1])
        if self.name in ARRAYS:
            return reversed_[:, ::-1]
        return self.given.give(reversed_).flip(-1)  # torch knows no negative step, and copies


class Interpreted(Backend):
    """The Triton kernels on CPU tensors; Triton read TRITON_INTERPRET when it was imported.

    It has none of libdevice's functions, which the float32 gelu calls.
    """

    exact = False
    longest = 5000
    pending = False

    def __call__(self, op, *arguments, **options):
        self.pending = True
        return super().__call__(op, *arguments, **options)

    def takes(self, *operands):
        """In place of `has_kernels`: the operator itself, not what it asks of the CPU to fill a table."""
        taken = self.pending and all(map(is_tensor, operands))
        self.pending = self.pending and not taken
        return taken


@functools.cache
def make(name):
    if name == "numpy":
        return Backend(name, library("numpy"))
    if name == "compiled":
        pytest.importorskip("numba")
        return Backend(name, library("numpy"))
    torch = pytest.importorskip("torch")
    if name == "torch":
        return Backend(name, library("torch"))
    pytest.importorskip("triton")
    if name == "interpreter":
        return Interpreted(name, library("torch"))
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return Backend(name, library("torch", "cuda"))


INTERPRETED = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") != "1",
    reason="test_interpreted.py starts these, with TRITON_INTERPRET=1",
)
PLACES = [
    "numpy",
    "compiled",
    "torch",
    pytest.param("interpreter", marks=INTERPRETED),
    pytest.param("cuda", marks=pytest.mark.gpu),
]


@pytest.fixture(params=PLACES, scope="module")
def backend(request):
    """One after the other: numpy, compiled loops, torch on the CPU, the kernels interpreted and on a GPU."""
    pytest.importorskip("ml_dtypes")
    pytest.importorskip("flint")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "interpreter":
            for module in ("softmax", "norms", "activations"):
                where = sys.modules[f"stable_ops.ops.{module}"]  # a function hides the module of its name
                patch.setattr(where, "has_kernels", make("interpreter").takes)
        made = make(request.param)
        accelerate(request.param == "compiled")
        yield made
        accelerate(False)


def pytest_terminal_summary(terminalreporter):
    """How many examples each place was given, and one line of them for whoever collects the counts."""
    for name in sorted({name for name, _ in EXAMPLES}):
        counts = {op: count for (place, op), count in sorted(EXAMPLES.items()) if place == name}
        detail = ", ".join(f"{op} {count}" for op, count in counts.items())
        terminalreporter.write_line(f"examples on {name}: {sum(counts.values())} ({detail})")
        if path := os.environ.get("STABLE_OPS_EXAMPLES"):
            failed = len(terminalreporter.stats.get("failed", []))
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"place": name, "examples": counts, "failed_tests": failed}) + "\n")
