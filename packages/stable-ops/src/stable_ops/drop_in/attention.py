"""Eager attention of transformers with our softmax, by its public AttentionInterface."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

from stable_ops.drop_in.code import same_code
from stable_ops.drop_in.forward import obstacle, refusal
from stable_ops.drop_in.probe import attention_agrees
from stable_ops.drop_in.report import Left, Replaced
from stable_ops.ops import softmax

_EAGER = "eager_attention_forward"


def replace_softmax(
    model: Any, *, wanted: bool | None, fallback: bool
) -> tuple[list[Replaced], list[Left], Callable[[], None] | None]:
    """Route the attention of a transformers model through `_attend`; answers also how to undo it."""
    modules = [(where, m) for where, m in model.named_modules() if _EAGER in _names(type(m).forward)]
    if not modules:
        return [], [], None
    reason = _reason_against(model, [m for _, m in modules], wanted)
    if reason is not None:
        return [], [Left(where, type(m).__name__, reason) for where, m in modules], None
    before = model.config._attn_implementation
    model.set_attn_implementation(_register(fallback))
    replaced = [Replaced(where, type(m).__name__, "softmax") for where, m in modules]
    return replaced, [], lambda: model.set_attn_implementation(before)


def _names(function: Any) -> tuple[str, ...]:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return code.co_names if code is not None else ()


def _reason_against(model: Any, modules: list[Any], wanted: bool | None) -> str | None:
    if not hasattr(model, "set_attn_implementation"):
        return "the attention function is chosen by a whole transformers model: pass that"
    used = {m.config._attn_implementation for m in modules if hasattr(m, "config")}
    used.add(model.config._attn_implementation)
    if any(str(name).startswith("stable_ops") for name in used):
        return "patched already"
    if len(used) > 1:
        return f"its parts use different attention functions: {', '.join(sorted(map(str, used)))}"
    if used != {"eager"} and not wanted:
        return (
            f"the softmax is inside the attention function {used.pop()!r}: patch with softmax=True to have "
            "it computed eagerly"
        )
    unknown = {type(m).__name__ for m in modules if not _known(_eager_of(m))}
    if unknown:
        return f"the eager attention of {', '.join(sorted(unknown))} is none of the known ones"
    return None


def _eager_of(module: Any) -> Any:
    return getattr(sys.modules[type(module).__module__], _EAGER, None)


def _known(eager: Any) -> bool:
    """Whether `_attend` computes what an eager attention computes, the softmax aside."""
    from transformers.models.gemma2 import modeling_gemma2
    from transformers.models.gpt2 import modeling_gpt2
    from transformers.models.llama import modeling_llama
    from transformers.models.opt import modeling_opt

    known = (modeling_llama, modeling_opt, modeling_gemma2, modeling_gpt2)
    originals = [getattr(model, _EAGER, None) for model in known]
    found = next((one for one in originals if one is not None and same_code(eager, one)), None)
    return found is not None and attention_agrees(found, _attend)


def _register(fallback: bool) -> str:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    name, function = ("stable_ops_or_eager", _attend_or_eager) if fallback else ("stable_ops", _attend)
    AttentionInterface.register(name, function)
    AttentionMaskInterface.register(name, eager_mask)
    return name


def _attend_or_eager(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **options: Any
) -> tuple[Any, Any]:
    """`_attend` where it can be, the model's own eager attention elsewhere."""
    if _obstacle(query, key, value) is None:
        return _attend(module, query, key, value, attention_mask, **options)
    result: tuple[Any, Any] = _eager_of(module)(module, query, key, value, attention_mask, **options)
    return result


def _attend(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    **options: Any,
) -> tuple[Any, Any]:
    """Eager attention in the order of transformers; the softmax rounds once, to the dtype of the scores.

    Shapes: query (b, heads, q, d), key and value (b, heads / groups, k, d); answers (b, q, heads, d), the
    probabilities (b, heads, q, k). Theirs is rounded to float32 and then to the dtype of the query.
    """
    import torch

    reason = _obstacle(query, key, value)
    if reason is not None:
        raise refusal(type(module).__name__, reason)
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = torch.matmul(query, key.transpose(2, 3)) * scale
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if attention_mask is not None:
        scores = scores + attention_mask
    shares = softmax(scores).to(query.dtype)
    shares = torch.nn.functional.dropout(shares, p=dropout, training=module.training)
    return torch.matmul(shares, value).transpose(1, 2).contiguous(), shares


def _obstacle(*tensors: Any) -> str | None:
    return next((reason for reason in map(obstacle, tensors) if reason is not None), None)
