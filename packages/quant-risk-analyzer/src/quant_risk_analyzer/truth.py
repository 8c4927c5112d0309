"""The damage as it is: quantize one layer, run the text, compare the outputs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mfi_command import BadInput
from quant_risk_analyzer.formats import Granularity, NumberFormat, formats_named
from quant_risk_analyzer.models import LanguageModel, Model, device_of, opened
from quant_risk_analyzer.quantizers import rounded
from quant_risk_analyzer.sites import Site, chosen_sites, linear_sites
from quant_risk_analyzer.texts import text_windows

if TYPE_CHECKING:
    import torch

FLOATS_AT_ONCE = 2**25  # outputs of all layers and the logits of one batch, 128 MiB: faster than more
ON_DEVICE = 64  # times as many where the model lives on a GPU


@dataclass(frozen=True)
class LayerDamage:
    """What quantizing one layer alone does to the model; all in nats per token.

    Attributes
    ----------
    name, shape, role, format
        The layer, (out, in), and the format its weight was rounded to.
    loss_increase, loss_increase_stderr
        Rise of the cross-entropy on the text; it can be negative, a layer's error may help by chance.
    kl, kl_stderr
        Kullback-Leibler divergence from the full-precision distribution to the quantized one. The standard
        errors are over the windows of the text.
    """

    name: str
    shape: tuple[int, int]
    role: str
    format: str
    loss_increase: float
    loss_increase_stderr: float
    kl: float
    kl_stderr: float

    def to_dict(self) -> dict[str, object]:
        """As a plain dictionary."""
        return {**self.__dict__, "shape": list(self.shape)}


@dataclass(frozen=True)
class Measurement:
    """Measured damage of each layer and format, and the loss of the untouched model, nats per token."""

    tokens: int
    loss: float
    layers: tuple[LayerDamage, ...]

    def kl(self, format: str) -> dict[str, float]:
        """KL by layer name for one format."""
        return {layer.name: layer.kl for layer in self.layers if layer.format == format}

    def to_dict(self) -> dict[str, object]:
        """As a plain dictionary."""
        return {"tokens": self.tokens, "loss": self.loss, "layers": [each.to_dict() for each in self.layers]}


def measure(
    model: Model,
    text: str,
    *,
    formats: Sequence[str] | str = ("int4",),
    granularity: Granularity = "channel",
    layers: str | Collection[str] | None = None,
    max_tokens: int = 2048,
    context: int = 256,
    on_progress: Callable[[int, int], None] | None = None,
) -> Measurement:
    r"""Quantize one layer at a time and measure the damage on a text.

    .. math:: \mathrm{KL} = \frac1T \sum_t \sum_v p_t(v) \log \frac{p_t(v)}{p'_t(v)}
              = \frac1T \sum_t \log \sum_v p_t(v)\, e^{d_t(v) - \bar d_t}

    with :math:`d = z' - z` the change of the logits and :math:`\bar d = \sum_v p(v) d(v)`: this form keeps
    its digits when the change is small.

    Parameters
    ----------
    model
        Path, "reference", or a causal language model with `linear_layers()` and a tokenizer.
    text
        Evaluation text; never the one a rating was calibrated on.
    formats, granularity
        As for `quantize`, symmetric, absmax.
    layers
        Glob of layer names, or the names; all by default.
    max_tokens
        At most this many tokens are scored, in windows spread evenly over the text.
    context
        Length of a window in tokens.
    on_progress
        Called with (done, total) single-layer evaluations.

    Returns
    -------
    Measurement
        One entry for each layer and format.

    Raises
    ------
    BadInput
        A text shorter than one window, an unknown format, a glob that matches nothing, a NaN weight.

    Notes
    -----
    Costs one forward pass per layer and format, less what comes before the layer: the outputs of earlier
    linear layers are kept from the full-precision pass, not computed again.
    """
    network = opened(model)
    # One token more than the window: each position needs its target.
    windows = text_windows(network, text, windows=max(1, max_tokens // context), length=context + 1)
    return measure_windows(
        network,
        windows,
        chosen_sites(network, layers),
        kinds=formats_named(formats),
        granularity=granularity,
        on_progress=on_progress,
    )


def measure_windows(
    network: Any,
    windows: torch.Tensor,
    chosen: Mapping[str, Site],
    *,
    kinds: Sequence[NumberFormat],
    granularity: Granularity,
    on_progress: Callable[[int, int], None] | None = None,
) -> Measurement:
    """`measure` on given windows of token ids, int64 (windows, length + 1)."""
    import torch

    windows = windows.to(device_of(network))
    sums: dict[tuple[str, str], list[np.ndarray[Any, Any]]] = {}
    losses: list[np.ndarray[Any, Any]] = []
    with torch.no_grad():
        for batch, tick in batches(network, windows, len(chosen) * len(kinds), on_progress):
            base = Baseline(network, batch)
            losses.append(base.losses)
            for name, kind, logits in _one_at_a_time(network, batch, chosen, kinds, granularity):
                sums.setdefault((name, kind), []).append(base.compare(logits))
                tick()
    return Measurement(
        tokens=windows.shape[0] * (windows.shape[1] - 1),
        loss=float(np.concatenate(losses).mean()),
        layers=tuple(
            _damage(name, kind.name, chosen[name], np.concatenate(sums[name, kind.name], axis=1))
            for kind in kinds
            for name in chosen
        ),
    )


def batches(
    model: LanguageModel,
    windows: torch.Tensor,
    evaluations: int,
    on_progress: Callable[[int, int], None] | None,
) -> Iterator[tuple[torch.Tensor, Callable[[], None]]]:
    widths = sum(site.shape[0] for site in linear_sites(model).values())
    floats = FLOATS_AT_ONCE * (1 if windows.device.type == "cpu" else ON_DEVICE)
    size = max(1, floats // (windows.shape[1] * (widths + 4 * model.vocab_size)))
    batches = [windows[start : start + size] for start in range(0, len(windows), size)]
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        if on_progress is not None:
            on_progress(done, evaluations * len(batches))

    for batch in batches:
        yield batch, tick


class Baseline:
    """Full-precision distribution of one batch, to compare others with."""

    def __init__(self, model: LanguageModel, batch: torch.Tensor) -> None:
        import torch

        self.logits = model(batch[:, :-1])
        self.targets = batch[:, 1:, None]
        log_p = torch.log_softmax(self.logits, -1)
        self.losses = -log_p.gather(-1, self.targets)[..., 0].double().mean(1).cpu().numpy()
        self.p = log_p.exp_()
        self.room = torch.empty_like(self.p)

    def compare(self, logits: torch.Tensor) -> np.ndarray[Any, Any]:
        """KL and rise of the loss, mean over each window: (2, windows)."""
        import torch

        # In place and as dot products: this pass over the vocabulary costs as much as the model otherwise.
        change = torch.sub(logits, self.logits, out=self.room)
        change -= self._mean(change)
        at_target = change.gather(-1, self.targets)[..., 0].double()
        # The mean of `change` under p is 0, so sum p expm1(change) is all that the exponential adds.
        kl = torch.log1p(self._mean(change.expm1_())[..., 0].double())
        if not bool(torch.isfinite(kl).all()):  # a logit moved by more than 88: the plain formula
            log_q = torch.log_softmax(logits.double(), -1)
            kl = (self.p.double() * (torch.log_softmax(self.logits.double(), -1) - log_q)).sum(-1)
            at_target = kl + (self.losses_of(self.logits) - self.losses_of(logits))
        return np.stack([kl.mean(1).cpu().numpy(), (kl - at_target).mean(1).cpu().numpy()])

    def _mean(self, values: torch.Tensor) -> torch.Tensor:
        """Mean of (b, s, vocab) under p: (b, s, 1)."""
        flat = values.reshape(-1, 1, values.shape[-1])
        return flat.bmm(self.p.reshape(flat.shape).transpose(1, 2)).reshape(*values.shape[:2], 1)

    def losses_of(self, logits: torch.Tensor) -> torch.Tensor:
        import torch

        return -torch.log_softmax(logits.double(), -1).gather(-1, self.targets)[..., 0]


def _one_at_a_time(
    model: LanguageModel,
    batch: torch.Tensor,
    layers: Mapping[str, Site],
    kinds: Sequence[NumberFormat],
    granularity: Granularity,
) -> Iterator[tuple[str, str, torch.Tensor]]:
    """Logits of the model with each layer quantized in turn, in the order in which the layers run."""
    inputs = batch[:, :-1]
    modules = {module for site in linear_sites(model).values() for module in site.modules}
    outputs = _outputs(model, inputs, modules)
    first: dict[torch.nn.Module, list[Site]] = {}
    for site in layers.values():
        ran = [module for module in outputs if module in site.modules]
        if not ran:
            raise BadInput(f"{site.name} does not run in the forward pass: it cannot be measured")
        first.setdefault(ran[0], []).append(site)
    with _replaced() as keep:
        for module, found in outputs.items():
            for site in first.get(module, ()):
                for kind in kinds:
                    with site.holding(rounded(site.weight, kind, granularity)):
                        yield site.name, kind.name, model(inputs)
            if len(found) == 1:
                keep(module, found[0])


def _outputs(
    model: LanguageModel, inputs: torch.Tensor, modules: Iterable[torch.nn.Module]
) -> dict[torch.nn.Module, list[torch.Tensor]]:
    """Outputs of each module, one for each run, in the order of the forward pass."""
    found: dict[torch.nn.Module, list[torch.Tensor]] = {}

    def keep(module: torch.nn.Module, given: object, output: torch.Tensor) -> None:
        found.setdefault(module, []).append(output)

    handles = [module.register_forward_hook(keep) for module in modules]
    try:
        model(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found


@contextmanager
def _replaced() -> Iterator[Callable[[torch.nn.Module, torch.Tensor], None]]:
    """Give `keep(module, output)`: from then on that module answers with `output` and computes nothing."""
    kept: list[torch.nn.Module] = []

    def keep(module: torch.nn.Module, output: torch.Tensor) -> None:
        kept.append(module)
        module.forward = lambda *_: output

    try:
        yield keep
    finally:
        for module in kept:
            module.__dict__.pop("forward", None)


def _damage(name: str, kind: str, site: Site, windows: np.ndarray[Any, Any]) -> LayerDamage:
    count = windows.shape[1]
    kl, rise = windows.mean(axis=1)
    spread = windows.std(axis=1, ddof=1) / np.sqrt(count) if count > 1 else np.full(2, np.nan)
    return LayerDamage(
        name=name,
        shape=site.shape,
        role=site.role,
        format=kind,
        loss_increase=float(rise),
        loss_increase_stderr=float(spread[1]),
        kl=float(kl),
        kl_stderr=float(spread[0]),
    )
