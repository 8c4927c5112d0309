"""Put the operators into a torch model, and take them out again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import MethodType, TracebackType
from typing import Any

from mfi_command import BadInput, require
from stable_ops.drop_in.report import Left, PatchReport, Replaced


class Patch:
    """What `patch` did to a model: its report, and how to undo it, by hand or at the end of a `with`.

    Attributes
    ----------
    model : torch.nn.Module
    report : PatchReport
    """

    def __init__(self, model: Any, report: PatchReport, steps: list[Callable[[], None]]) -> None:
        self.model = model
        self.report = report
        self._steps = steps

    def undo(self) -> None:
        """Give every module its own forward back; a second call does nothing."""
        while self._steps:
            self._steps.pop()()

    def __enter__(self) -> Patch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.undo()


def patch(
    model: Any,
    *,
    norms: bool = True,
    activations: bool = True,
    softmax: bool | None = None,
    fallback: bool = False,
) -> Patch:
    """Compute the norms, the activations and the attention softmax of a torch model with these operators.

    Parameters
    ----------
    model : torch.nn.Module
        A model of transformers, or any module with torch's own norms and activations inside.
    norms, activations : bool
        Which families to replace. Activations include the product of silu with its gate, as `swiglu`.
    softmax : bool, optional
        Modules of torch, and the softmax of eager attention. True also moves a model that uses another
        attention function (sdpa, flash attention, whose softmax is inside one kernel) to eager attention,
        which costs the memory of all scores; None, the default, leaves such a model's attention alone.
    fallback : bool
        What a patched module does where the operators do not apply: when a gradient is asked for, under
        autocast, for a dtype they do not know, or where a norm's weight has another dtype than its input.
        False raises, True computes what the model computed before.

    Returns
    -------
    Patch
        `.report` tells what was replaced and what was left, and why. `.undo()` takes everything back, as
        does the end of a `with`; the model then computes the bits it computed before.

    Notes
    -----
    A module is replaced when its class is known or its code is a copy of a known one, instruction by
    instruction (the norms of Llama, Gemma and OLMo 2, Llama's gated layer, the eager attention of Llama, OPT,
    Gemma 2 and GPT-2: most model files of transformers hold copies of these), and if the known one, run once
    in the installed version, gives our result. Every other module is left and reported; a function called
    inside somebody's forward is not seen. Parameters, hooks, names and the state dict stay as they are: only
    the `forward` of an instance is set, and attention goes through transformers' AttentionInterface. Undo
    before you pickle the model.

    What changes: 16-bit results of a replaced module are rounded once (twice where the model's own
    definition says so, Llama's norm), so a row's bits depend neither on the batch nor on the device. Matrix
    products are not replaced, and their bits may depend on both.

    Raises
    ------
    BadInput
        If the model is no torch module. From a patched module: if it cannot run (see `fallback`).

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.LayerNorm(4), torch.nn.Linear(4, 4), torch.nn.GELU()).eval()
    >>> with patch(model) as patched, torch.no_grad():
    ...     y = model(torch.ones(1, 4))
    >>> print(patched.report)
    1 x LayerNorm -> layer_norm
    1 x GELU -> gelu, none
    1 x Linear left: no norm, softmax or activation that is known
    """
    torch = require("torch", extra="torch", distribution="mfi-stable-ops")
    if not isinstance(model, torch.nn.Module):
        raise BadInput(f"patch takes a torch.nn.Module, got {type(model).__name__}: pass the model itself")
    wanted = {"norms": norms, "activations": activations, "softmax": softmax is not False}
    replaced, left, steps = _replace_modules(model, wanted, fallback)
    if wanted["softmax"]:
        from stable_ops.drop_in.attention import replace_softmax

        done, kept, undo = replace_softmax(model, wanted=softmax, fallback=fallback)
        replaced, left = replaced + done, left + kept
        steps += [undo] if undo is not None else []
    return Patch(model, PatchReport(tuple(replaced), tuple(left)), steps)


def _replace_modules(
    model: Any, wanted: dict[str, bool], fallback: bool
) -> tuple[list[Replaced], list[Left], list[Callable[[], None]]]:
    """Set the forward of every module that has an operation."""
    from stable_ops.drop_in.forward import forward_of
    from stable_ops.drop_in.operations import operation_of

    replaced: list[Replaced] = []
    left: list[Left] = []
    steps: list[Callable[[], None]] = []
    whole: set[int] = set()  # modules that a replaced gated layer no longer calls
    for where, module in model.named_modules():
        found, name = operation_of(module), type(module).__name__
        leaf = next(module.children(), None) is None
        if id(module) in whole:
            continue
        if isinstance(found, str):
            if leaf:
                left.append(Left(where, name, found))
        elif not wanted[found.family]:
            left.append(Left(where, name, f"{found.family} were not asked for"))
        else:
            module.forward = MethodType(forward_of(found, fallback=fallback), module)
            steps.append(partial(delattr, module, "forward"))
            replaced.append(Replaced(where, name, found.name))
            if not leaf:
                whole.add(id(module.act_fn))
    return replaced, left, steps
