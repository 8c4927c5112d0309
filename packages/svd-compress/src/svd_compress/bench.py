"""A model on the bench: its layers are exchanged for factors of any plan, and it is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svd_compress.allocation import Layout, Option, Plan, frontier
from svd_compress.evaluation import Losses, losses
from svd_compress.folder import Factors, stored_dtype
from svd_compress.preparation import FLOOR, PreparedLayer, all_options, balanced, chosen_layers, prepare
from svd_compress.reloading import as_module

if TYPE_CHECKING:
    import torch
    from torch import nn

    from checkpoint_lens import CausalLM, Checkpoint
    from checkpoint_lens.windows import Window
    from svd_compress.factoring import Factoring
    from svd_compress.gradients import Moments

# (stage, done, total)
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Texts:
    """Windows of text, each with its part: see `Bench`."""

    fit: Sequence[Window]
    search: Sequence[Window]
    judge: Sequence[Window]
    other: Sequence[Window]
    train: Sequence[Window]


class Bench:
    """A model on the bench: its layers can be exchanged for plans and judged.

    Parameters
    ----------
    model, checkpoint
        The model and where its weights come from.
    layer
        Glob of the layers that may be factored.
    texts
        `fit` makes the factors, `search` chooses the plan, `train` heals (all of the calibration text; the
        windows of `search` are in none of the others), `judge` proves it on the evaluation text, `other`
        shows it on another domain.
    layout
        How factored layers are kept.
    progress
        Told of every step.
    """

    def __init__(
        self,
        model: CausalLM,
        checkpoint: Checkpoint,
        *,
        layer: str,
        texts: Texts,
        layout: Layout,
        progress: Progress,
    ) -> None:
        self.model, self.checkpoint, self.progress = model, checkpoint, progress
        self.dense = chosen_layers(model, layer)
        self._places = _places(model, self.dense)
        self.texts, self.layout = texts, layout
        self.prepared: Mapping[str, PreparedLayer] = {}
        self.options: dict[str, list[Option]] = {}
        self.plans: list[Plan] = []

    def prepare(
        self,
        *,
        multiple: int,
        min_saving: float,
        seed: int,
        work: Path | None = None,
        memory_bytes: int | None = None,
        executor: str = "serial",
        keep_gradients: bool = False,
        statistics: Callable[[Sequence[str]], dict[str, Moments]] | None = None,
    ) -> None:
        """Factor every selected layer and lay out the plans from dense to smallest."""
        self.prepared = prepare(
            self.model,
            self.texts.fit,
            list(self.dense),
            seed=seed,
            work=work,
            memory_bytes=memory_bytes,
            executor=executor,
            keep_gradients=keep_gradients,
            statistics=statistics,
            on_moments=lambda done, total: self.progress("moments", done, total),
            on_progress=lambda done, total: self.progress("factors", done, total),
        )
        self.options = all_options(
            self.prepared, multiple=multiple, min_saving=min_saving, layout=self.layout
        )
        self.plans = frontier(self.options)

    def offer(self, options: Mapping[str, list[Option]]) -> None:
        """Lay out the plans again from other options, such as those that were measured to be faster."""
        self.options = dict(options)
        self.plans = frontier(self.options)

    def factors(self, plan: Plan) -> dict[str, Factors]:
        """The factors of a plan, in the dtype in which they are stored."""
        return {
            name: self.stored(name, self.prepared[name].factors, rank)
            for name, rank in plan.ranks.items()
            if rank is not None
        }

    def stored(self, name: str, factors: Factoring, rank: int) -> Factors:
        """A factoring cut at a rank, in the layout and dtype in which it is stored."""
        return self._kept(name, *balanced(factors, rank), layout=self.layout)

    def _kept(self, name: str, left: torch.Tensor, right: torch.Tensor, *, layout: Layout) -> Factors:
        import torch

        from svd_compress.pivoting import pivot

        dtype = stored_dtype(self.checkpoint, f"{name}.weight")
        if layout == "two":
            return Factors(left.to(dtype), right.to(dtype))
        compact = pivot(left, right)
        return Factors(compact.left.to(dtype), compact.right.to(dtype), compact.pivots.to(torch.int32))

    def refined(self, plan: Plan) -> dict[str, Factors]:
        """The factors of a plan, each layer fitted to what the compressed layers before it make."""
        from svd_compress.sequential import refine

        found: dict[str, Factors] = {}

        def put(name: str, factors: Factoring) -> None:
            rank = plan.ranks[name]
            assert rank is not None
            found[name] = self.stored(name, factors, rank)
            self._put(name, found[name])

        try:
            refine(
                self.model,
                self.texts.fit,
                plan.ranks,
                {name: self.prepared[name].gradients for name in plan.ranks},
                put,
                floor=FLOOR,
                on_progress=lambda done, total: self.progress("refinement", done, total),
            )
        finally:
            self._restore(found)
        return found

    def healed(
        self,
        factors: Mapping[str, Factors],
        *,
        minutes: float,
        seed: int,
        steps: int | None = None,
        learning_rate: float | None = None,
    ) -> dict[str, Factors]:
        """The factors trained for a while on the calibration windows, with the dense model as teacher.

        Pivoted ones are trained as two full factors, see `pivoting.unpivot`.
        """
        from svd_compress.healing import LEARNING_RATE, heal

        modules: dict[str, Any] = {
            name: self._module(name, pair.in_two()).float() for name, pair in factors.items()
        }

        def teach(ids: torch.Tensor) -> torch.Tensor:
            self._restore(modules)
            logits: torch.Tensor = self.model(ids)
            for name, module in modules.items():
                self._exchange(name, module)
            return logits

        try:
            for name, module in modules.items():
                self._exchange(name, module)
            parameters = [p for module in modules.values() for p in (module.left, module.right)]
            heal(
                self.model,
                parameters,
                self.texts.train,
                teach,
                minutes=minutes,
                steps=steps,
                learning_rate=learning_rate or LEARNING_RATE,
                seed=seed,
                on_progress=lambda done, total: self.progress("healing", done, total),
            )
        finally:
            self._restore(modules)
        return {
            name: self._kept(
                name, modules[name].left.detach(), modules[name].right.detach(), layout=pair.form
            )
            for name, pair in factors.items()
        }

    @contextmanager
    def exchanged(self, factors: Mapping[str, Factors]) -> Iterator[None]:
        """The model with the factors in place, rounded as they are stored."""
        try:
            for name, pair in factors.items():
                self._put(name, pair)
            yield
        finally:
            self._restore(factors)

    def _module(self, name: str, pair: Factors) -> nn.Module:
        dense = self.dense[name]
        return as_module(pair, dense.weight.dtype, dense.bias).to(dense.weight.device)

    def _put(self, name: str, pair: Factors) -> None:
        self._exchange(name, self._module(name, pair))

    def _exchange(self, name: str, module: nn.Module) -> None:
        parent, attribute = self._places[name]
        setattr(parent, attribute, module)

    def _restore(self, names: Mapping[str, object]) -> None:
        for name in names:
            self._exchange(name, self.dense[name])

    def measure(self, factors: Mapping[str, Factors], windows: Sequence[Window], stage: str) -> Losses:
        """Losses on windows with these factors in place; none is the dense model."""
        with self.exchanged(factors):
            return losses(
                self.model, windows, on_progress=lambda done, total: self.progress(stage, done, total)
            )


def _places(model: nn.Module, layers: Mapping[str, nn.Module]) -> dict[str, tuple[nn.Module, str]]:
    """Parent module and attribute of each layer, found by identity: a wrapped model has names of its own."""
    found = {
        id(child): (parent, attribute)
        for parent in model.modules()
        for attribute, child in parent.named_children()
    }
    return {name: found[id(layer)] for name, layer in layers.items()}
