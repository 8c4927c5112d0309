"""Second moments of what flows into each linear layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from checkpoint_lens.windows import Tick, windows
from mfi_command import BadInput, require

if TYPE_CHECKING:
    import torch

    from checkpoint_lens.causal_lm import CausalLM


@dataclass(frozen=True)
class SecondMoment:
    """Sum over `tokens` of x x^T for the inputs x of one layer.

    `gram` is (in, in) float64, symmetric, read-only. Layers that read one input (q, k, v; gate, up) share
    an array.
    """

    gram: np.ndarray[Any, np.dtype[np.float64]]
    tokens: int


def second_moments(
    model: CausalLM,
    text: str,
    *,
    context: int = 512,
    max_tokens: int | None = None,
    layers: Iterable[str] | None = None,
    on_progress: Tick | None = None,
) -> dict[str, SecondMoment]:
    r"""Sum $X^\top X$ of the inputs of each linear layer over a text, window by window.

    Parameters
    ----------
    model
        From `load_model`.
    text, context, max_tokens
        As for `perplexity`; every token of a window counts, the begin-of-text token too.
    layers
        Names of linear layers; all of them by default.
    on_progress
        Called with (windows done, windows in all).

    Returns
    -------
    dict
        Layer name to `SecondMoment`, in the order of the model. Divide `gram` by `tokens` for the mean.

    Notes
    -----
    Cost: $O(n d^2)$ for n tokens and each distinct input of width d, in float64; memory $8 d^2$ bytes each.
    The inputs themselves carry the rounding of the model's dtype; the sum over n tokens adds at most about n
    times the unit roundoff of float64, $1.1 \times 10^{-16}$, relative to the sum of magnitudes.

    Raises
    ------
    BadInput
        If a name is not a linear layer, or as `perplexity` does for the text.
    """
    torch = require("torch", extra="torch", distribution="checkpoint-lens")
    chosen = _choose(model, layers)
    parts = windows(model, text, context=context, max_tokens=max_tokens)
    device = next(model.parameters()).device
    sums = _Sums()
    with ExitStack() as hooks, torch.inference_mode():
        for name, module in chosen.items():
            hooks.callback(module.register_forward_pre_hook(sums.hook(name)).remove)
        for done, part in enumerate(parts, 1):
            model(torch.from_numpy(part.ids).to(device)[None])
            sums.forget()
            if on_progress is not None:
                on_progress(done, len(parts))
    return sums.result(chosen)


def _choose(model: CausalLM, layers: Iterable[str] | None) -> dict[str, torch.nn.Linear]:
    every = model.linear_layers()
    if layers is None:
        return every
    wanted = set(layers)
    if unknown := sorted(wanted - set(every)):
        raise BadInput(
            f"no linear layer {unknown[0]!r} in this model; there are {', '.join(list(every)[:3])} ..."
        )
    return {name: module for name, module in every.items() if name in wanted}


class _Sums:
    """Grams by layer; a layer that reads the very tensor its predecessor read shares the predecessor's."""

    def __init__(self) -> None:
        self._owner: dict[str, str] = {}
        self._gram: dict[str, torch.Tensor] = {}
        self._tokens: dict[str, int] = {}
        self._last: tuple[torch.Tensor, str] | None = None

    def hook(self, name: str) -> Callable[[Any, tuple[torch.Tensor, ...]], None]:
        return partial(self._see, name)

    def _see(self, name: str, module: object, inputs: tuple[torch.Tensor, ...]) -> None:
        x = inputs[0]
        shared = self._last is not None and self._last[0] is x
        owner = self._owner.setdefault(name, self._last[1] if shared and self._last else name)
        if shared and self._last and owner == self._last[1]:
            return
        if owner != name:
            raise RuntimeError(f"{name} read another tensor than {owner}, unlike in the first window")
        wide = x.detach().reshape(-1, x.shape[-1]).double()
        product = wide.T @ wide
        if name in self._gram:
            self._gram[name] += product
        else:
            self._gram[name] = product
        self._tokens[name] = self._tokens.get(name, 0) + len(wide)
        self._last = (x, name)

    def forget(self) -> None:
        self._last = None

    def result(self, names: Iterable[str]) -> dict[str, SecondMoment]:
        shared = {}
        for owner, gram in self._gram.items():
            array = gram.cpu().numpy()
            array.flags.writeable = False
            shared[owner] = SecondMoment(array, self._tokens[owner])
        # An expert that no token was routed to has nothing to report.
        return {name: shared[self._owner[name]] for name in names if name in self._owner}
