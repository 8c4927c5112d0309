"""A model on the bench: its layers are exchanged for factors of any plan, and it is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from svd_compress.allocation import Option, Plan, frontier
from svd_compress.evaluation import Losses, losses
from svd_compress.folder import Factors, stored_dtype
from svd_compress.preparation import PreparedLayer, all_options, balanced, chosen_layers, prepare
from svd_compress.texts import fit_and_search, spread_windows

if TYPE_CHECKING:
    from torch import nn

    from checkpoint_lens import CausalLM, Checkpoint
    from checkpoint_lens.windows import Window

# (stage, done, total)
Progress = Callable[[str, int, int], None]


class Bench:
    """A model on the bench: its layers can be exchanged for plans and judged.

    `fit`, `search` and `judge` are windows: of the calibration text for the factors, of the calibration text
    for the search, of the evaluation text.
    """

    def __init__(
        self,
        model: CausalLM,
        checkpoint: Checkpoint,
        *,
        layer: str,
        texts: tuple[str, str],
        context: int,
        tokens: tuple[int, int | None],
        progress: Progress,
    ) -> None:
        self.model, self.checkpoint, self.progress = model, checkpoint, progress
        self.dense = chosen_layers(model, layer)
        self._places = _places(model, self.dense)
        self.fit, self.search = fit_and_search(model, texts[0], context=context, max_tokens=tokens[0])
        self.judge = spread_windows(model, texts[1], context=context, max_tokens=tokens[1])
        self.prepared: dict[str, PreparedLayer] = {}
        self.options: dict[str, list[Option]] = {}
        self.plans: list[Plan] = []

    def prepare(self, *, multiple: int, min_saving: float, seed: int) -> None:
        """Factor every selected layer and lay out the plans from dense to smallest."""
        self.prepared = prepare(
            self.model,
            self.fit,
            list(self.dense),
            seed=seed,
            on_progress=lambda done, total: self.progress("factors", done, total),
        )
        self.options = all_options(self.prepared, multiple=multiple, min_saving=min_saving)
        self.plans = frontier(self.options)

    def factors(self, plan: Plan) -> dict[str, Factors]:
        """The factors of a plan, in the dtype in which they are stored."""
        import torch

        out = {}
        for name, rank in plan.ranks.items():
            if rank is None:
                continue
            dtype = stored_dtype(self.checkpoint, f"{name}.weight")
            left, right = balanced(self.prepared[name].factors, rank)
            out[name] = Factors(torch.from_numpy(left).to(dtype), torch.from_numpy(right).to(dtype))
        return out

    @contextmanager
    def exchanged(self, plan: Plan) -> Iterator[None]:
        """The model with the plan's factors in place, rounded as they are stored."""
        from svd_compress.factored import FactoredLinear

        factors = self.factors(plan)
        for name, pair in factors.items():
            dense = self.dense[name]
            wide = dense.weight.dtype
            self._put(name, FactoredLinear(pair.left.to(wide), pair.right.to(wide), dense.bias))
        try:
            yield
        finally:
            for name in factors:
                self._put(name, self.dense[name])

    def _put(self, name: str, module: nn.Module) -> None:
        parent, attribute = self._places[name]
        setattr(parent, attribute, module)

    def measure(self, plan: Plan, windows: list[Window], stage: str) -> Losses:
        """Losses of a plan on windows."""
        with self.exchanged(plan):
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
