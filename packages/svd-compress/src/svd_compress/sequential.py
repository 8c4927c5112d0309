r"""Factors fitted block by block to what they really get: the inputs that the compressed blocks before make.

A layer that was factored for the inputs x of the dense model sees x' once the layers before it are factored
too. Its best factors for x' come from the same solver with another target: with T = E[y x'^T] for the output
y that the dense model has there and G' = E[x'x'^T],

$$E\|B^T(y - \hat W x')\|^2 = \|B^T(TG'^{-1} - \hat W)S'\|_F^2 + \text{const}, \qquad S'S'^T = G' .$$

$TG'^{-1}$ is pulled towards the layer's own weights W by a ridge: with few tokens the regression alone would
learn their noise. For layers that add to the residual stream y also makes up for what the stream has lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from svd_compress.factoring import Factoring, factor

if TYPE_CHECKING:
    from checkpoint_lens import CausalLM
    from checkpoint_lens.windows import Window

Put = Callable[[str, Factoring], None]
# Relative to the mean eigenvalue of the inputs' moment.
RIDGE = 1e-2
# The mean square of a token that is not there.
TINY = 1e-12
# The steps of a block: layers that read the same input go together, and the next ones see their result.
STEPS = (
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    ("self_attn.o_proj",),
    ("mlp.gate_proj", "mlp.up_proj"),
    ("mlp.down_proj",),
)
RESIDUAL = frozenset({"self_attn.o_proj", "mlp.down_proj"})


@dataclass
class _Stream:
    """Hidden states before a block, window by window, and the rotary tables."""

    states: list[torch.Tensor]
    cos: torch.Tensor
    sin: torch.Tensor


def can_refine(model: CausalLM) -> bool:
    """Whether the model's blocks can be run one by one: those of Llama-shaped models can."""
    from checkpoint_lens.llama.model import LlamaLM

    return isinstance(model, LlamaLM)


def refine(
    model: CausalLM,
    windows: Sequence[Window],
    ranks: Mapping[str, int | None],
    gradients: Mapping[str, torch.Tensor | None],
    put: Put,
    *,
    floor: float,
    ridge: float = RIDGE,
    residual: float = 1.0,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Factor each layer of `ranks` anew, in order, and `put` it into the model at once.

    Parameters
    ----------
    model
        Llama-shaped, dense; `put` changes it as the refinement goes.
    windows
        Calibration text.
    ranks
        Layer name to rank; None stays as it is.
    gradients
        Second moment of each layer's output gradients (K-FAC), or None for the identity.
    put
        Called with the name and the factoring of each layer, of which the rank in `ranks` is to be used.
    floor, ridge
        Relative floors, see `factoring.factor` and the module.
    residual
        How much of what the residual stream lost a layer that adds to it tries to make up, 0 to 1.

    Notes
    -----
    Cost: about three passes forward over the windows and O(p^3) a layer. Memory: two copies of the hidden
    states of all windows and the moments of one step of one block.
    """
    dense, compressed = _streams(model, windows)
    decoder: Any = model.model
    blocks = decoder.layers
    for number, block in enumerate(blocks):
        before = _reference(block, dense)
        for step in STEPS:
            names = [f"model.layers.{number}.{part}" for part in step]
            if all(ranks.get(name) is None for name in names):
                continue
            moments = _moments(block, compressed, before, step, residual)
            for name, part in zip(names, step, strict=True):
                if ranks.get(name) is None:
                    continue
                target = _pulled(moments, part, before.weights[part], ridge)
                put(name, factor(target, moments.gram, gradients.get(name), floor=floor))
        with torch.inference_mode():
            for i, x in enumerate(dense.states):
                dense.states[i] = before.outputs[i]
                compressed.states[i] = block(
                    compressed.states[i], dense.cos[: x.shape[1]], dense.sin[: x.shape[1]]
                )
        if on_progress is not None:
            on_progress(number + 1, len(blocks))


def _streams(model: CausalLM, windows: Sequence[Window]) -> tuple[_Stream, _Stream]:
    from checkpoint_lens.llama.rotary import cos_sin, inverse_frequencies

    decoder: Any = model.model
    device = decoder.embed_tokens.weight.device
    longest = max(len(window.ids) for window in windows)
    frequencies = inverse_frequencies(decoder._shape.rope, decoder._shape.head_dim).to(device)
    cos, sin = cos_sin(frequencies, longest, decoder.embed_tokens.weight.dtype)
    with torch.inference_mode():
        states = [decoder.embed_tokens(torch.from_numpy(w.ids).to(device)[None]) for w in windows]
    return _Stream(states, cos, sin), _Stream(list(states), cos, sin)


@dataclass
class _Reference:
    """What the dense block does: outputs of its layers, its own output, the stream between its halves."""

    layers: dict[str, list[torch.Tensor]]
    middles: list[torch.Tensor]
    starts: list[torch.Tensor]
    outputs: list[torch.Tensor]
    weights: dict[str, torch.Tensor]


def _reference(block: Any, stream: _Stream) -> _Reference:
    parts = [part for step in STEPS for part in step]
    layers: dict[str, list[torch.Tensor]] = {part: [] for part in parts}
    middles: list[torch.Tensor] = []
    outputs = []
    hooks = [
        block.get_submodule(part).register_forward_hook(lambda _m, _i, y, part=part: layers[part].append(y))
        for part in parts
    ]
    hooks.append(block.post_attention_layernorm.register_forward_pre_hook(lambda _m, i: middles.append(i[0])))
    try:
        with torch.inference_mode():
            for x in stream.states:
                outputs.append(block(x, stream.cos[: x.shape[1]], stream.sin[: x.shape[1]]))
    finally:
        for hook in hooks:
            hook.remove()
    weights = {part: block.get_submodule(part).weight.detach() for part in parts}
    return _Reference(layers, middles, list(stream.states), outputs, weights)


class _Stop(Exception):
    """The rest of the block is not needed."""


@dataclass
class _StepMoments:
    """Sums over tokens: `gram` of x'x'^T; `fitted` of w x'x'^T and `targets` of w y x'^T."""

    gram: torch.Tensor
    fitted: torch.Tensor
    targets: dict[str, torch.Tensor]


def _moments(
    block: Any, compressed: _Stream, reference: _Reference, step: Sequence[str], residual: float
) -> _StepMoments:
    """What the layers of a step are given in the compressed model, and what they should make of it."""
    inputs: list[torch.Tensor] = []
    middles: list[torch.Tensor] = []

    def stop(_module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        inputs.append(arguments[0])
        raise _Stop

    hook = block.get_submodule(step[0]).register_forward_pre_hook(stop)
    middle = block.post_attention_layernorm.register_forward_pre_hook(lambda _m, i: middles.append(i[0]))
    gram: Any = 0.0
    fitted: Any = 0.0
    targets: dict[str, Any] = dict.fromkeys(step, 0.0)
    tokens = 0
    try:
        for i, state in enumerate(compressed.states):
            with torch.inference_mode():
                with suppress(_Stop):
                    block(state, compressed.cos[: state.shape[1]], compressed.sin[: state.shape[1]])
                x = inputs.pop().flatten(0, -2)
                lost = _lost(step[0], reference, i, state, middles, residual)
                weighted = x if lost is None else x * _weights(step[0], reference, i)
                for part in step:
                    y = reference.layers[part][i]
                    y = (y if lost is None else y + lost).flatten(0, -2)
                    targets[part] = targets[part] + _product(y, weighted)
                own = _product(x, x)
                gram = gram + own
                fitted = fitted + (own if lost is None else _product(weighted, x))
                tokens += len(x)
            middles.clear()
    finally:
        hook.remove()
        middle.remove()
    means = {part: total / tokens for part, total in targets.items()}
    return _StepMoments(gram / tokens, fitted / tokens, means)


def _product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a^T b of one window in the dtype of the model, to be summed in float64.

    Each entry is a scalar product of two channels, off by at most n eps times their norms: a channel with
    small numbers keeps its digits beside one with large ones.
    """
    return (a.T @ b).double()


def _weights(part: str, reference: _Reference, i: int) -> torch.Tensor:
    """One over the mean square of the residual stream behind the layer, for each token, (tokens, 1).

    A norm follows, so that what counts is the error relative to the stream. Without it the first token, which
    many models blow up a thousandfold, is all that a least-squares fit sees once its stream is lost.
    """
    behind = reference.middles[i] if part == "self_attn.o_proj" else reference.outputs[i]
    return 1.0 / behind.flatten(0, -2).square().mean(-1, keepdim=True).clamp(min=TINY)


def _lost(
    part: str,
    reference: _Reference,
    i: int,
    state: torch.Tensor,
    middles: list[torch.Tensor],
    residual: float,
) -> torch.Tensor | None:
    """What the residual stream lacks where the layer adds to it."""
    if part not in RESIDUAL or not residual:
        return None
    if part == "self_attn.o_proj":
        return residual * (reference.starts[i] - state)
    return residual * (reference.middles[i] - middles[-1])


def _pulled(moments: _StepMoments, part: str, W: torch.Tensor, ridge: float) -> torch.Tensor:
    """(T + rW)(G + rI)^-1 for the weighted moments, with r relative to the mean eigenvalue of G."""
    r = ridge * float(moments.fitted.diagonal().mean())
    lifted = moments.fitted.clone()
    lifted.diagonal().add_(r or 1.0)
    right = moments.targets[part] + (r or 1.0) * W.double()
    # Symmetric positive definite by the ridge, however few the tokens.
    return torch.cholesky_solve(right.T, torch.linalg.cholesky(lifted)).T
