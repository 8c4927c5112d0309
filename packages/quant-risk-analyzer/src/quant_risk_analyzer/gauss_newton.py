r"""The Gauss-Newton form of the damage: how far the output distribution moves when a weight is perturbed.

For a perturbation :math:`\Delta` of one weight, at a token position :math:`\tau`,

.. math:: \mathrm{KL}(p_\tau \| p'_\tau) = \tfrac12\, \mathbb E_{y \sim p_\tau}
          \bigl[\langle \Delta, \nabla_W \log p_\tau(y) \rangle^2\bigr] + O(\|\Delta\|^3).

Labels drawn independently at each position have scores of mean zero, so that the square of their sum over a
sequence has the expectation of the sum of squares: one backward pass over a whole sequence gives an unbiased
sample of the summed KL, for every layer at once. The inner product needs no weight gradient:
:math:`\langle \Delta, \nabla_W \rangle = \sum_t g_t \cdot \Delta x_t` with :math:`g_t` the gradient at the
layer's output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mfi_command import BadInput
from quant_risk_analyzer.expert_products import expert_products
from quant_risk_analyzer.models import LanguageModel, frozen
from quant_risk_analyzer.products import Products, joined, label_scores
from quant_risk_analyzer.sites import Site

if TYPE_CHECKING:
    import torch

FLOATS_AT_ONCE = 2**27  # numbers held per pass, 512 MiB
ON_DEVICE = 16  # times as many on a GPU


def score_products(
    model: LanguageModel,
    tokens: torch.Tensor,
    errors: Callable[[str], torch.Tensor],
    layers: Mapping[str, Site],
    *,
    probes: int = 2,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Products]:
    """Inner products of the perturbations `errors(name)` with the sampled scores of each sequence.

    Parameters
    ----------
    model
        Causal language model.
    tokens
        int64 (sequences, length), on the model's device.
    errors
        Gives the perturbations of a layer: float32 (perturbations, out, in). Called once a pass and layer, so
        that they need not all be in memory.
    layers
        Where to look, by name, from `linear_sites`. A module that runs several times in a forward pass, or
        shares its weight with others, gets the sum over all of its runs: the weight is one.
    probes
        Draws of labels for each sequence, each one backward pass.
    seed
        Of the labels.

    Returns
    -------
    dict
        By layer. Half the mean square of `scores`, divided by the length, is the expected KL, nats per token.

    Notes
    -----
    A token costs one forward pass, `probes` backward passes to the layers' outputs (no weight gradients), and
    one product with each perturbation. Experts in stacks add a forward and `probes` backward passes with the
    gradients of their weights, see `expert_products`.

    Source: Martens, "New insights and perspectives on the natural gradient method", JMLR 2020, section 5.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    alone = {name: site for name, site in layers.items() if site.expert is None}
    stacked = {name: site for name, site in layers.items() if site.expert is not None}
    size = _sequences_at_once(model, alone, tokens)
    parts: list[dict[str, Products]] = []
    with frozen(model):
        for start in range(0, len(tokens) if alone else 0, size):
            batch = tokens[start : start + size]
            parts.append(_one_pass(model, batch, errors, alone, probes, generator))
            if on_progress is not None:
                on_progress(min(start + size, len(tokens)), len(tokens))
        experts = expert_products(model, tokens, errors, stacked, probes=probes, seed=seed)
    return {
        name: joined([part[name] for part in parts]) if name in alone else experts[name] for name in layers
    }


def _sequences_at_once(model: LanguageModel, layers: Mapping[str, Site], tokens: torch.Tensor) -> int:
    # Input, output and gradient of each layer, as much again for what lies between, and the logits thrice.
    widths = sum(2 * site.shape[1] + 3 * site.shape[0] for site in layers.values())
    floats = FLOATS_AT_ONCE * (1 if tokens.device.type == "cpu" else ON_DEVICE)
    return max(1, floats // (tokens.shape[1] * (widths + 3 * model.vocab_size)))


def _one_pass(
    model: LanguageModel,
    batch: torch.Tensor,
    errors: Callable[[str], torch.Tensor],
    layers: Mapping[str, Site],
    probes: int,
    generator: torch.Generator,
) -> dict[str, Products]:
    import torch

    with recorded(layers.values(), batch) as runs:
        logits = model(batch)
    _all_ran(runs, layers)
    every = [run for each in runs.values() for run in each]
    for score in label_scores(logits.detach(), probes, generator):
        found = torch.autograd.grad(
            logits, [run.output for run in every], grad_outputs=score, retain_graph=True, allow_unused=True
        )
        for run, gradient in zip(every, found, strict=True):
            run.gradients.append(gradient)
    del logits
    for run in every:
        del run.output
    with torch.no_grad():
        return {
            name: _products(
                site, [run for module in site.modules for run in runs[module]], errors(name), probes
            )
            for name, site in layers.items()
        }


def _products(site: Site, runs: Sequence[Run], error: torch.Tensor, probes: int) -> Products:
    import torch

    count, sequences, where = error.shape[0], runs[0].input.shape[0], error.device
    scores = torch.zeros((count, sequences, probes), dtype=torch.float64, device=where)
    by_channel = torch.zeros((count, sequences, error.shape[1]), dtype=torch.float64, device=where)
    squares = torch.zeros(error.shape[2], dtype=torch.float64, device=where)
    positions = 0
    for run in runs:
        x = run.input
        squares += (x.double() ** 2).sum((0, 1))
        positions += x.shape[0] * x.shape[1]
        moved = torch.empty((count, *x.shape[:2], error.shape[1]), dtype=x.dtype, device=where)
        for index in range(count):
            torch.matmul(x, error[index].to(x.dtype).T, out=moved[index])
        for probe, gradient in enumerate(run.gradients):
            if gradient is None:  # nothing after this layer reaches the logits
                continue
            own = site.part(_by_window(gradient, sequences))
            for index in range(count):
                scores[index, :, probe] += torch.linalg.vecdot(moved[index], own).double().sum(1)
            if probe == 0:
                by_channel += (moved * own).sum(2)
    return Products(
        scores.cpu().numpy(),
        (by_channel**2).mean(1).cpu().numpy(),
        (squares / positions).cpu().numpy(),
    )


def _by_window(values: torch.Tensor, windows: int) -> torch.Tensor:
    """(windows, positions, n): some models flatten windows and positions, some look at one position only."""
    return values if values.ndim == 3 else values.reshape(windows, -1, values.shape[-1])


@dataclass
class Run:
    """One call of a module: its input (windows, positions, in), its output, and gradients there by probe."""

    input: torch.Tensor
    output: torch.Tensor
    gradients: list[torch.Tensor | None] = field(default_factory=list)


@contextmanager
def recorded(layers: Iterable[Site], batch: torch.Tensor) -> Iterator[dict[torch.nn.Module, list[Run]]]:
    """Keep each call of the sites' modules in a forward pass; outputs can be differentiated to."""
    modules = {module: site.name for site in layers for module in site.modules}
    runs: dict[torch.nn.Module, list[Run]] = {module: [] for module in modules}

    def keep(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if output.ndim < 2 or output.shape[0] not in (len(batch), batch.numel()):
            raise BadInput(
                f"{modules[module]} gives {tuple(output.shape)} for tokens {tuple(batch.shape)}: expected "
                "(batch, length, out); what mixes the windows cannot be attributed to them"
            )
        if not output.requires_grad:
            output.requires_grad_(True)
        runs[module].append(Run(_by_window(inputs[0].detach(), len(batch)), output))

    handles = [module.register_forward_hook(keep) for module in modules]
    try:
        yield runs
    finally:
        for handle in handles:
            handle.remove()


def _all_ran(runs: Mapping[torch.nn.Module, list[Run]], layers: Mapping[str, Site]) -> None:
    for name, site in layers.items():
        if not any(runs[module] for module in site.modules):
            raise BadInput(f"{name} did not run in the forward pass: it cannot be rated")
