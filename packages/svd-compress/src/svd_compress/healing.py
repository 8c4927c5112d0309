"""Healing: the factors are trained a little so that the compressed model answers as the dense one did."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from checkpoint_lens import CausalLM
    from checkpoint_lens.windows import Window

LEARNING_RATE, WARM_UP = 1e-4, 0.05


@dataclass(frozen=True)
class Healing:
    """What was done: AdamW steps, tokens seen, and the mean loss of the first and last tenth of the steps."""

    steps: int
    tokens: int
    seconds: float
    loss_before: float
    loss_after: float


def heal(
    model: CausalLM,
    parameters: Sequence[nn.Parameter],
    windows: Sequence[Window],
    teacher: Callable[[torch.Tensor], torch.Tensor] | None,
    *,
    minutes: float,
    steps: int | None = None,
    learning_rate: float = LEARNING_RATE,
    batch: int = 4,
    mix: float = 0.5,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Healing:
    r"""Train `parameters` of the model on calibration windows for so many minutes.

    The loss is $(1 - a)\,\mathrm{CE}(\text{text}) + a\,\mathrm{KL}(\text{dense} \| \text{compressed})$ with
    a = `mix`, 0 without a teacher. AdamW, warm-up, then a cosine over the given time: the clock
    is the schedule, so a slower machine takes fewer steps and still ends with a small rate.

    Parameters
    ----------
    model
        The compressed model; only `parameters` change.
    parameters
        The factors.
    windows
        Calibration text. The evaluation text must not be among it.
    teacher
        Token numbers (batch, length) to the dense model's logits, or None.
    minutes
        Time to train.
    steps
        Train for so many steps instead: what is learnt no longer depends on the machine.
    learning_rate, batch
        Peak rate of AdamW, and windows in a step.
    seed
        Of the order of the windows.

    Returns
    -------
    Healing
    """
    generator = torch.Generator().manual_seed(seed)
    device = parameters[0].device
    size = min(len(window.ids) for window in windows)
    ids = torch.stack([torch.from_numpy(window.ids[:size]) for window in windows])
    seen: list[float] = []
    frozen = [(p, p.requires_grad) for p in model.parameters()]
    for p, _ in frozen:
        p.requires_grad_(False)
    for p in parameters:
        p.requires_grad_(True)
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.0)
    order: list[int] = []
    # The clock starts now: the first use of an optimizer loads much of torch.
    start = time.monotonic()

    def done() -> float:
        return len(seen) / steps if steps else (time.monotonic() - start) / (60 * minutes)

    try:
        while (share := done()) < 1.0 or not seen:
            rate = learning_rate * min(1.0, (share + 1e-3) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * share))
            for group in optimizer.param_groups:
                group["lr"] = rate if share < 1.0 else learning_rate * 1e-3
            if len(order) < batch:
                order += torch.randperm(len(ids), generator=generator).tolist()
            picked, order = order[:batch], order[batch:]
            seen.append(_step(model, optimizer, parameters, ids[picked].to(device), teacher, mix))
            if on_progress is not None:
                on_progress(min(int(1000 * share), 999), 1000)
    finally:
        for p, flag in frozen:
            p.requires_grad_(flag)
            p.grad = None
    tenth = max(1, len(seen) // 10)
    return Healing(
        steps=len(seen),
        tokens=len(seen) * batch * size,
        seconds=time.monotonic() - start,
        loss_before=sum(seen[:tenth]) / tenth,
        loss_after=sum(seen[-tenth:]) / tenth,
    )


def _step(
    model: CausalLM,
    optimizer: torch.optim.Optimizer,
    parameters: Sequence[nn.Parameter],
    ids: torch.Tensor,
    teacher: Callable[[torch.Tensor], torch.Tensor] | None,
    mix: float,
) -> float:
    from torch.nn.functional import cross_entropy, kl_div, log_softmax

    with torch.enable_grad():
        logits = model(ids[:, :-1]).float()
        loss = cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        if teacher is not None:
            with torch.no_grad():
                wanted = log_softmax(teacher(ids[:, :-1]).float(), -1)
            divergence = (
                kl_div(log_softmax(logits, -1), wanted, reduction="none", log_target=True).sum(-1).mean()
            )
            loss = (1 - mix) * loss + mix * divergence
        loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(loss.detach())
