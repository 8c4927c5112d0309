"""Which operator computes a module: known classes, and copies of them that compile to the same code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from stable_ops.drop_in.code import same_code
from stable_ops.drop_in.probe import activation_agrees, gated_agrees, norm_agrees
from stable_ops.ops import gelu, layer_norm, log_softmax, rms_norm, silu, softmax, swiglu

Family = Literal["norms", "softmax", "activations"]


@dataclass(frozen=True)
class Operation:
    """A forward in our operators.

    Attributes
    ----------
    name : str
        For the report.
    family : str
        "norms", "softmax" or "activations".
    forward : callable
        forward(module, x).
    one_dtype : tuple of str
        Parameters of the module that must have the dtype of x, or torch's result would have another.
    """

    name: str
    family: Family
    forward: Callable[[Any, Any], Any]
    one_dtype: tuple[str, ...] = ()


def operation_of(module: Any) -> Operation | str:
    """The operation of a module, or why it has none."""
    if "forward" in vars(module):
        return "its forward is replaced already, by a hook or another patch"
    for find in (_of_torch, _of_transformers):
        found = find(module)
        if found is not None:
            return found
    if "Norm" in type(module).__name__:
        return "a norm whose code is none of the known ones"
    return "no norm, softmax or activation that is known"


def _of_torch(module: Any) -> Operation | str | None:
    """Modules of torch itself; a subclass that leaves forward as it is counts as one."""
    from torch import nn

    kinds: tuple[tuple[Any, Callable[[Any], Operation | str]], ...] = (
        (nn.LayerNorm, _layer_norm),
        (nn.RMSNorm, _torch_rms_norm),
        (nn.Softmax, _softmax),
        (nn.LogSoftmax, _log_softmax),
        (nn.GELU, lambda m: _gelu(m.approximate)),
        (nn.SiLU, _silu),
    )
    for kind, build in kinds:
        if isinstance(module, kind) and type(module).forward is kind.forward:
            return build(module)
    return None


def _layer_norm(module: Any) -> Operation | str:
    if len(module.normalized_shape) != 1:
        return "it normalises more than one axis"
    return Operation(
        "layer_norm",
        "norms",
        lambda m, x: layer_norm(x, m.weight, m.bias, eps=m.eps),
        ("weight", "bias"),
    )


def _torch_rms_norm(module: Any) -> Operation | str:
    if len(module.normalized_shape) != 1:
        return "it normalises more than one axis"
    if module.eps is None:
        return "its eps depends on the dtype and on torch: give it a number"
    return Operation("rms_norm, exact", "norms", lambda m, x: rms_norm(x, m.weight, eps=m.eps), ("weight",))


def _softmax(module: Any) -> Operation | str:
    if module.dim is None:
        return "its axis is not given"
    return Operation("softmax", "softmax", lambda m, x: softmax(x, axis=m.dim))


def _log_softmax(module: Any) -> Operation | str:
    if module.dim is None:
        return "its axis is not given"
    return Operation("log_softmax", "softmax", lambda m, x: log_softmax(x, axis=m.dim))


def _gelu(approximate: Literal["none", "tanh"]) -> Operation:
    return Operation(f"gelu, {approximate}", "activations", lambda m, x: gelu(x, approximate=approximate))


def _silu(module: Any) -> Operation | str:
    if getattr(module, "inplace", False):
        return "it writes its result into its argument"
    return Operation("silu", "activations", lambda m, x: silu(x))


_ACTIVATIONS = {
    "GELUActivation": _gelu("none"),
    "GELUTanh": _gelu("tanh"),
    "PytorchGELUTanh": _gelu("tanh"),
    "NewGELUActivation": _gelu("tanh"),
    "AccurateGELUActivation": _gelu("tanh"),
    "SiLUActivation": Operation("silu", "activations", lambda m, x: silu(x)),
}


def _of_transformers(module: Any) -> Operation | None:
    """Modules of transformers and copies of them; it is not imported where nobody has."""
    if "transformers" not in sys.modules:
        return None
    from transformers import activations

    for name, operation in _ACTIVATIONS.items():
        # Their names differ between versions of transformers.
        kind: Any = getattr(activations, name, None)
        if type(module) == kind:  # noqa: E721 (with "is" mypy takes a class for unhashable)
            return operation if activation_agrees(kind, operation.forward) else None
    for kind, methods, operation in _copied():
        if all(_same_method(module, kind, method) for method in methods):
            return operation if norm_agrees(kind, operation.forward) else None
    return _gated(module)


_HF = Operation(
    "rms_norm, hf",
    "norms",
    lambda m, x: rms_norm(x, m.weight, eps=m.variance_epsilon, form="hf"),
    ("weight",),
)
_GEMMA = Operation("rms_norm, gemma", "norms", lambda m, x: rms_norm(x, m.weight, eps=m.eps, form="gemma"))
_EXACT = Operation("rms_norm, exact", "norms", lambda m, x: rms_norm(x, m.weight, eps=m.variance_epsilon))
_SWIGLU = Operation("swiglu", "activations", lambda m, x: m.down_proj(swiglu(m.gate_proj(x), m.up_proj(x))))


def _copied() -> Iterator[tuple[Any, tuple[str, ...], Operation]]:
    """Norms that other model files copy: the class, the methods to compare, the operation."""
    from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
    from transformers.models.llama.modeling_llama import LlamaRMSNorm
    from transformers.models.olmo2.modeling_olmo2 import Olmo2RMSNorm

    yield LlamaRMSNorm, ("forward",), _HF
    yield GemmaRMSNorm, ("forward", "_norm"), _GEMMA
    yield Olmo2RMSNorm, ("forward",), _EXACT


def _gated(module: Any) -> Operation | None:
    """A gated layer with silu, whose product with the gate is then rounded once."""
    from transformers.models.llama.modeling_llama import LlamaMLP

    if not _same_method(module, LlamaMLP, "forward"):
        return None
    inner = operation_of(module.act_fn)
    if isinstance(inner, str) or inner.name != "silu":
        return None
    return _SWIGLU if gated_agrees(LlamaMLP.forward, _SWIGLU.forward) else None


def _same_method(module: Any, kind: Any, name: str) -> bool:
    method = getattr(type(module), name, None)
    return method is not None and same_code(method, getattr(kind, name))
