"""The forward that takes the place of a module's own, and where it must not."""

from __future__ import annotations

from typing import Any

from mfi_command import BadInput
from stable_ops.drop_in.operations import Operation


def forward_of(operation: Operation, *, fallback: bool) -> Any:
    """A function (module, x) to be bound to the module as its forward."""

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        (x,) = (*args, *kwargs.values())
        reason = obstacle(x, self.parameters()) or _other_dtype(self, operation, x)
        if reason is None:
            return operation.forward(self, x)
        if not fallback:
            raise refusal(type(self).__name__, reason)
        return type(self).forward(self, *args, **kwargs)

    return forward


def obstacle(x: Any, parameters: Any = ()) -> str | None:
    """Why our operators cannot stand in for torch's here, or None."""
    import torch

    if torch.is_grad_enabled() and (x.requires_grad or any(p.requires_grad for p in parameters)):
        return "a gradient is asked for, and the operators have none"
    if torch.is_autocast_enabled(x.device.type):
        return "autocast is on, which chooses other dtypes"
    if x.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        return f"the input has dtype {x.dtype}"
    return None


def refusal(name: str, reason: str) -> BadInput:
    """What a patched module says where it cannot run."""
    return BadInput(
        f"{name} is patched by stable_ops, but {reason}: run it under torch.no_grad() and in one dtype, undo "
        "the patch, or patch with fallback=True"
    )


def _other_dtype(module: Any, operation: Operation, x: Any) -> str | None:
    for name in operation.one_dtype:
        parameter = getattr(module, name)
        if parameter is not None and parameter.dtype != x.dtype:
            return f"its {name} is {parameter.dtype} and the input {x.dtype}"
    return None
