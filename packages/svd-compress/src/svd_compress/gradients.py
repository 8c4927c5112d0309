r"""What flows into each linear layer and what the loss thinks of what flows out: second moments of both.

A change $\Delta$ of a layer's weights moves the output distribution by, to second order,

$$\mathrm{KL} = \tfrac12 \mathbb E\bigl[\langle g x^T, \Delta\rangle^2\bigr]
\approx \tfrac12 \operatorname{tr}(F \Delta G \Delta^T)$$

per token, with x the layer's input, g the gradient of the loss at its output for labels drawn from the
model's own distribution, $G = E[xx^T]$ and $F = E[gg^T]$ (K-FAC: J. Martens and R. Grosse, arXiv
1503.05671, section 3). For a model that has learnt its text the KL is the rise of the loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from svd_compress.carrying import Carried

if TYPE_CHECKING:
    import torch

    from checkpoint_lens import CausalLM
    from checkpoint_lens.windows import Window

Tick = Callable[[int, int], None]
# (layer, inputs (tokens, in), gradients at the outputs (tokens, out))
Visit = Callable[[str, "torch.Tensor", "torch.Tensor"], None]


@dataclass(frozen=True)
class Moments(Carried):
    """Means over tokens, on the device of the model.

    Attributes
    ----------
    inputs
        E[x x^T], (in, in), summed over windows in float64.
    gradients
        E[g g^T], (out, out) float32, summed over windows in float64: a sample of gradients is noisier
        than float32.
    magnitudes
        E|x|, (in,) float64.
    """

    inputs: torch.Tensor
    gradients: torch.Tensor
    magnitudes: torch.Tensor


def moments(
    model: CausalLM,
    windows: Sequence[Window],
    names: Sequence[str],
    *,
    seed: int = 0,
    on_progress: Tick | None = None,
) -> dict[str, Moments]:
    """Second moments of inputs and output gradients of the named layers over the windows.

    Cost: one forward and one backward pass, and O(in^2 + out^2) a token. Memory
    8 in^2 + 4 out^2 bytes a layer; layers that read the same input share one matrix.
    """
    inputs, gradients = _Sums(), _Sums()
    magnitudes: dict[str, torch.Tensor] = {}
    tokens = 0

    def visit(name: str, x: torch.Tensor, g: torch.Tensor) -> None:
        inputs.add(name, x)
        gradients.add(name, g)
        sums = x.abs().double().sum(0)
        magnitudes[name] = magnitudes[name] + sums if name in magnitudes else sums

    for done, window in enumerate(windows, 1):
        tokens += len(window.ids)
        backward(model, window, names, visit, seed=seed + done)
        inputs.forget()
        gradients.forget()
        if on_progress is not None:
            on_progress(done, len(windows))
    A, F = inputs.means(tokens), gradients.means(tokens)
    return {name: Moments(A[name], F[name].float(), magnitudes[name] / tokens) for name in names}


def backward(model: CausalLM, window: Window, names: Sequence[str], visit: Visit, *, seed: int) -> None:
    """One backward pass with labels drawn from the model's own distribution; `visit` sees each layer once.

    The loss is the sum over the window's predictions, so a gradient carries what a token does to the
    predictions after it.
    """
    import torch
    from torch.nn.functional import cross_entropy

    generator = torch.Generator().manual_seed(seed)
    with ExitStack() as stack:
        stack.enter_context(_frozen(model))
        stack.enter_context(torch.enable_grad())
        layers = model.linear_layers()
        for name in names:
            stack.callback(layers[name].register_forward_hook(_hook(name, visit)).remove)
        device = next(model.parameters()).device
        logits = model(torch.from_numpy(window.ids).to(device)[None])[0].float()
        labels = draw(logits.detach(), generator)
        cross_entropy(logits, labels, reduction="sum").backward()  # type: ignore[no-untyped-call]


def draw(logits: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A label for each row of logits (n, vocabulary), by inverting the distribution function.

    On a CPU `torch.multinomial` would take a good part of the whole backward pass.
    """
    import torch

    from stable_ops import softmax

    summed = softmax(logits).cumsum(-1)
    uniform = torch.rand(len(logits), 1, generator=generator).to(logits.device)
    # Rounding may leave the last sum below 1; the draw must stay below the last sum.
    found = torch.searchsorted(summed, uniform * summed[:, -1:], right=True)[:, 0]
    return found.clamp(max=logits.shape[-1] - 1)


def _hook(name: str, visit: Visit) -> Callable[[Any, Any, torch.Tensor], torch.Tensor]:
    def forward(module: Any, arguments: Any, output: torch.Tensor) -> torch.Tensor:
        if not output.requires_grad:  # the first layer: all its parameters are frozen
            output = output.detach().requires_grad_(True)
        x = arguments[0].detach()

        def arrived(g: torch.Tensor) -> None:
            visit(name, x.flatten(0, -2), g.detach().flatten(0, -2))

        output.register_hook(arrived)  # type: ignore[no-untyped-call]
        return output

    return forward


@contextmanager
def _frozen(model: CausalLM) -> Iterator[None]:
    """No parameter asks for its own gradient: nobody reads it, and it costs as much as all the rest."""
    asked = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    for parameter, _ in asked:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, flag in asked:
            parameter.requires_grad_(flag)


class _Sums:
    """Sums of v v^T by layer; layers that are given the very same tensor share one matrix.

    A window's product is in the dtype of the model, and the windows are summed in float64. An entry is then
    off by at most n eps times the norms of its two channels, so that a channel with small numbers keeps its
    digits beside one with large ones; in float64 the products would take longer than the backward pass.
    """

    def __init__(self) -> None:
        self._of: dict[str, str] = {}
        self._sums: dict[str, torch.Tensor] = {}
        self._seen: dict[tuple[int, tuple[int, ...]], tuple[torch.Tensor, str]] = {}

    def add(self, name: str, v: torch.Tensor) -> None:
        # A kept reference holds the memory, so the address names one tensor until `forget`.
        owner = self._seen.setdefault((v.data_ptr(), v.shape), (v, name))[1]
        # Sharing must hold for every window: a layer that once stood alone keeps its own matrix.
        owner = self._of.setdefault(name, owner)
        if owner != name:
            return
        product = (v.T @ v).double()
        self._sums[name] = self._sums[name] + product if name in self._sums else product

    def forget(self) -> None:
        self._seen.clear()

    def means(self, tokens: int) -> Mapping[str, torch.Tensor]:
        for total in self._sums.values():
            total /= tokens
        return {name: self._sums[owner] for name, owner in self._of.items()}
