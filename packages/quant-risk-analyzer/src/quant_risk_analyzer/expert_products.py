r"""Gauss-Newton products of experts that are kept in one tensor of three axes.

No module runs for one expert alone, and its tokens have left their places in the sequence. What remains is
the gradient of the stack: one window at a time, it holds the score of that window for every expert at once,

.. math:: \langle \Delta_e, \nabla_{W_e} \log p(y) \rangle = \sum_{ij} \Delta_{e,ij} G_{e,ij}.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from mfi_command import BadInput
from quant_risk_analyzer.models import LanguageModel
from quant_risk_analyzer.products import Products, label_scores
from quant_risk_analyzer.sites import Site

if TYPE_CHECKING:
    import torch

FLOATS_AT_ONCE = 2**28  # numbers of perturbations and gradients held, 1 GiB


def expert_products(
    model: LanguageModel,
    tokens: torch.Tensor,
    errors: Callable[[str], torch.Tensor],
    layers: Mapping[str, Site],
    *,
    probes: int,
    seed: int,
) -> dict[str, Products]:
    """`score_products` of the sites in stacks; parameters ask for no gradient when this is called.

    Notes
    -----
    A forward and `probes` backward passes for each window and group of stacks, with weight gradients of the
    group: as many stacks at a time as fit `FLOATS_AT_ONCE` with their perturbations. The inputs of one expert
    are not seen: `Products.inputs` is one everywhere.
    """
    found: dict[str, Products] = {}
    for group in _groups(layers, errors):
        found |= _group_products(model, tokens, errors, group, probes, seed)
    return found


def _groups(layers: Mapping[str, Site], errors: Callable[[str], torch.Tensor]) -> Iterator[dict[str, Site]]:
    if not layers:
        return
    copies = 1 + len(errors(next(iter(layers))))
    group: dict[str, Site] = {}
    held = 0
    for name, site in layers.items():
        size = copies * site.shape[0] * site.shape[1]
        if group and held + size > FLOATS_AT_ONCE:
            yield group
            group, held = {}, 0
        group[name] = site
        held += size
    yield group


def _group_products(
    model: LanguageModel,
    tokens: torch.Tensor,
    errors: Callable[[str], torch.Tensor],
    layers: Mapping[str, Site],
    probes: int,
    seed: int,
) -> dict[str, Products]:
    import torch

    perturbations = {name: errors(name) for name in layers}
    stacks = {
        id(stack): stack for site in layers.values() for stack in (getattr(site.modules[0], site.parameter),)
    }
    of_site = {name: id(getattr(site.modules[0], site.parameter)) for name, site in layers.items()}
    count = len(next(iter(perturbations.values())))
    scores = {name: np.zeros((count, len(tokens), probes)) for name in layers}
    channels = {name: np.zeros((count, site.shape[0])) for name, site in layers.items()}
    generator = torch.Generator().manual_seed(seed)
    for stack in stacks.values():
        stack.requires_grad_(True)
    try:
        for at in range(len(tokens)):
            logits = model(tokens[at : at + 1])
            if not logits.requires_grad:
                raise BadInput(f"{next(iter(layers))} did not run in the forward pass: it cannot be rated")
            for probe, score in enumerate(label_scores(logits.detach(), probes, generator)):
                gradients = torch.autograd.grad(
                    logits,
                    list(stacks.values()),
                    grad_outputs=score,
                    retain_graph=probe + 1 < probes,
                    allow_unused=True,
                )
                by_stack = dict(zip(stacks, gradients, strict=True))
                for name, site in layers.items():
                    gradient = by_stack[of_site[name]]
                    if gradient is None:  # no expert of this stack took a token
                        continue
                    by_row = (perturbations[name] * site.of(gradient)).sum(2).double()
                    scores[name][:, at, probe] = by_row.sum(1).cpu().numpy()
                    if probe == 0:
                        channels[name] += by_row.cpu().numpy() ** 2 / len(tokens)
    finally:
        for stack in stacks.values():
            stack.requires_grad_(False)
    return {
        name: Products(scores[name], channels[name], np.ones(site.shape[1])) for name, site in layers.items()
    }
