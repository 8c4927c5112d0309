"""Other people's kernels and ours under one calling convention, on CUDA tensors.

A variant takes the operands of `stable_ops` (x; x, weight, bias; x, weight; gate, up; logits). Where a
library wants them in another form, `adapt` makes it once, outside the timed part.
"""

from __future__ import annotations

import importlib
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import stable_ops
from stable_ops.bench.cases import NUCLEUS
from stable_ops.bench.report import Absence

Call = Callable[..., Any]


class Absent(Exception):
    """A library that has no such operator, or cannot run it; the message says why."""


@dataclass(frozen=True)
class Variant:
    """A kernel: `call(*adapt(*operands))`."""

    backend: str
    call: Call
    adapt: Call = lambda *operands: operands


def variant(backend: str, op: str, dtype: str, *, dynamic: bool | None = False) -> Variant:
    """The kernel of a library, not yet compiled; `dynamic` is torch.compile's.

    Raises
    ------
    Absent
        The library is not installed or has no such operator for this dtype.
    """
    return _compiled(op, dynamic) if backend == "torch.compile" else BACKENDS[backend](op, dtype)


def versions() -> dict[str, str]:
    """Versions of what is installed of the libraries compared."""
    from importlib.metadata import PackageNotFoundError, version

    names = ("torch", "triton", "liger_kernel", "quack-kernels", "nvidia-cutlass-dsl", "flashinfer-python")
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _top_p(logits: Any) -> Any:
    # Without waiting for the device, as the peers.
    return stable_ops.sample(logits, top_p=NUCLEUS, check=False)


def _ours(op: str, dtype: str) -> Variant:
    return Variant("stable_ops", _top_p if op == "top_p" else getattr(stable_ops, op))


def torch_functions() -> dict[str, Call]:
    """Each operator as one writes it with torch."""
    import torch
    import torch.nn.functional as F  # noqa: N812

    def softmax(x: Any) -> Any:
        return torch.softmax(x, -1)

    def log_softmax(x: Any) -> Any:
        return torch.log_softmax(x, -1)

    def logsumexp(x: Any) -> Any:
        return torch.logsumexp(x, -1)

    def layer_norm(x: Any, weight: Any, bias: Any) -> Any:
        return F.layer_norm(x, weight.shape, weight, bias, 1e-5)

    def rms_norm(x: Any, weight: Any) -> Any:
        return F.rms_norm(x, weight.shape, weight, 1e-6)

    def gelu(x: Any) -> Any:
        return F.gelu(x)

    def silu(x: Any) -> Any:
        return F.silu(x)

    def swiglu(gate: Any, up: Any) -> Any:
        return F.silu(gate) * up

    def top_p(logits: Any) -> Any:
        ordered, tokens = torch.softmax(logits, -1).sort(-1, descending=True)
        before = ordered.cumsum(-1) - ordered
        drawn = torch.multinomial(ordered.masked_fill(before >= NUCLEUS, 0.0), 1)
        return tokens.gather(-1, drawn)

    functions = (softmax, log_softmax, logsumexp, layer_norm, rms_norm, gelu, silu, swiglu, top_p)
    return {function.__name__: function for function in functions}


def _eager(op: str, dtype: str) -> Variant:
    return Variant("torch", torch_functions()[op])


def _compiled(op: str, dynamic: bool | None) -> Variant:
    import torch

    if op == "top_p":
        raise Absent("torch's form is a sort and a draw: nothing to fuse")
    function = torch_functions()[op]
    # A code object of its own: what is compiled for one shape is no further entry of another's cache.
    fresh = types.FunctionType(
        function.__code__.replace(), function.__globals__, op, None, function.__closure__
    )
    return Variant("torch.compile", torch.compile(fresh, dynamic=dynamic))


def _liger(op: str, dtype: str) -> Variant:
    functional = _library("liger_kernel.transformers.functional")
    calls: dict[str, Call] = {
        "softmax": functional.liger_softmax,
        "layer_norm": lambda x, weight, bias: functional.liger_layer_norm(x, weight, bias, 1e-5),
        # "gemma" keeps float32 to the end: one rounding, as the operator is defined here.
        "rms_norm": lambda x, weight: functional.liger_rms_norm(x, weight, 1e-6, 0.0, "gemma", False),
        "swiglu": functional.liger_swiglu,
    }
    return Variant("liger", _of(calls, op))


def _quack(op: str, dtype: str) -> Variant:
    modules = {
        "softmax": "softmax",
        "layer_norm": "rmsnorm",
        "rms_norm": "rmsnorm",
        "logsumexp": "cross_entropy",
    }
    if op not in modules:
        raise Absent("has no such operator")
    module = _library(f"quack.{modules[op]}")
    if op == "softmax":
        return Variant("quack", module.softmax_fwd)
    if op == "layer_norm":
        return Variant(
            "quack",
            lambda x, weight, bias: module.layernorm_fwd(x, weight, bias, 1e-5),
            lambda x, weight, bias: (x, weight.float(), bias.float()),
        )
    if op == "rms_norm":
        return Variant("quack", lambda x, weight: module.rmsnorm_fwd(x, weight, eps=1e-6)[0])
    # Its cross entropy returns the logsumexp beside the loss, in float32.
    return Variant(
        "quack",
        lambda x, target: module.cross_entropy_fwd(x, target, return_lse=True)[1].to(x.dtype),
        lambda x: (x, x.new_zeros(x.shape[0], dtype=_library("torch").int64)),
    )


def _flashinfer(op: str, dtype: str) -> Variant:
    if op not in ("softmax", "layer_norm", "rms_norm", "swiglu", "top_p"):
        raise Absent("has no such operator")
    library, torch = _library("flashinfer"), _library("torch")
    if op in ("softmax", "top_p"):
        if dtype != "float32":
            raise Absent("float32 only")
        if op == "softmax":
            return Variant("flashinfer", library.sampling.softmax)
        return Variant("flashinfer", lambda logits: _flashinfer_top_p(library.sampling, logits))
    if dtype == "float32" or (op == "layer_norm" and dtype != "bfloat16"):
        raise Absent("bfloat16 only" if op == "layer_norm" else "16-bit only")
    if op == "layer_norm":
        return Variant(
            "flashinfer",
            lambda x, weight, bias: library.norm.layernorm(x, weight, bias, 1e-5),
            lambda x, weight, bias: (x, weight.float(), bias.float()),
        )
    if op == "rms_norm":
        return Variant("flashinfer", lambda x, weight: library.norm.rmsnorm(x, weight, 1e-6))
    return Variant(
        "flashinfer",
        library.activation.silu_and_mul,
        lambda gate, up: (torch.cat([gate, up], -1),),
    )


def _flashinfer_top_p(sampling: Any, logits: Any) -> Any:
    return sampling.top_p_sampling_from_probs(sampling.softmax(logits), NUCLEUS)


BACKENDS: dict[str, Callable[[str, str], Variant]] = {
    "stable_ops": _ours,
    "torch": _eager,
    "torch.compile": lambda op, dtype: _compiled(op, False),
    "liger": _liger,
    "quack": _quack,
    "flashinfer": _flashinfer,
}


def _of(calls: dict[str, Call], op: str) -> Call:
    if op not in calls:
        raise Absent("has no such operator")
    return calls[op]


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever a library of somebody else's raises while it is imported
        raise Absent(f"cannot be imported: {_reason(error)}") from error


def absence(error: Exception, op: str, length: int, dtype: str, backend: str) -> Absence:
    """What is told about a kernel that raised."""
    if isinstance(error, Absent):
        return Absence(op, None, dtype, backend, str(error), failed=False)
    return Absence(op, length, dtype, backend, _reason(error), failed=True)


def _reason(error: Exception) -> str:
    """The first line of an exception, at most 120 characters."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:120].rstrip(": ")
