"""Whether the installed transformers computes what a replacement stands for, found by running both once.

A module is compared with a known one by its code; that the known one itself is what we think it is, in the
version at hand, is found here. What does not agree is not replaced.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

_NEAR = 1e-5
# Two roundings in place of one differ in a tenth of all bfloat16 numbers or more.
_SHARE = 0.01


@functools.cache
def norm_agrees(kind: Any, forward: Callable[[Any, Any], Any]) -> bool:
    """A norm class, made with its size and eps: close in float32, nearly all bits equal in bfloat16."""

    def compare() -> bool:
        import torch

        norm = kind(64, eps=0.25)
        norm.weight.data += torch.linspace(-0.4, 0.4, 64)
        x = _drawn(64, 64)
        close = _close(norm(x), forward(norm, x))
        norm, x = norm.bfloat16(), x.bfloat16()
        return close and bool((norm(x) != forward(norm, x)).double().mean() < _SHARE)

    return _quietly(compare)


@functools.cache
def activation_agrees(kind: Any, forward: Callable[[Any, Any], Any]) -> bool:
    """An activation class without arguments."""

    def compare() -> bool:
        module, x = kind(), 3 * _drawn(64, 64)
        return _close(module(x), forward(module, x))

    return _quietly(compare)


@functools.cache
def gated_agrees(function: Any, forward: Callable[[Any, Any], Any]) -> bool:
    """The forward of a gated layer, on factors in place of its matrices."""

    def compare() -> bool:
        import torch

        layer = SimpleNamespace(
            gate_proj=lambda x: 2 * x,
            up_proj=lambda x: x - 1,
            down_proj=lambda x: x.flip(-1),
            act_fn=torch.nn.functional.silu,
        )
        x = _drawn(8, 16)
        return _close(function(layer, x), forward(layer, x))

    return _quietly(compare)


@functools.cache
def attention_agrees(eager: Any, attend: Any) -> bool:
    """An eager attention, with a mask and without, with a soft cap and grouped keys if it knows them."""
    return all(
        _quietly(functools.partial(_same_attention, eager, attend, masked=masked, softcap=softcap))
        for masked in (False, True)
        for softcap in (None, 0.7)
        if softcap is None or "softcap" in inspect.signature(eager).parameters
    )


def _same_attention(eager: Any, attend: Any, *, masked: bool, softcap: float | None) -> bool:
    import torch

    groups = 2 if "repeat_kv" in eager.__code__.co_names else 1
    module: Any = torch.nn.Module().eval()
    module.num_key_value_groups, module.head_dim = groups, 8
    q, k = _drawn(2, 4, 5, 8), _drawn(2, 4 // groups, 7, 8)
    hidden = torch.ones(2, 1, 5, 7).triu(3) * torch.finfo(torch.float32).min
    mask = hidden if masked else None
    options: dict[str, Any] = {"scaling": 0.4, "dropout": 0.0}
    if softcap is not None:
        options["softcap"] = softcap
    theirs, ours = (f(module, q, k, k.flip(-2), mask, **options) for f in (eager, attend))
    return _close(theirs[0], ours[0]) and _close(theirs[1], ours[1])


def _drawn(*shape: int) -> Any:
    import torch

    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _close(a: Any, b: Any) -> bool:
    return bool(a.shape == b.shape and a.dtype == b.dtype and (a - b).abs().max() < _NEAR)


def _quietly(compare: Callable[[], bool]) -> bool:
    """What cannot even be run as we think it can is not what we think it is."""
    import torch

    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        try:
            return compare()
        except Exception:  # whatever a changed function raises
            return False
