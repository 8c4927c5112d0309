"""The model under study: what is asked of it, and how one is opened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch


class LanguageModel(Protocol):
    """A causal language model: what `checkpoint_lens.load_model` returns, or your own module.

    `model(token_ids)` maps int64 (b, s) to logits (b, s, vocab); `linear_layers()` names the
    `torch.nn.Linear` modules that a quantizer would change.
    """

    vocab_size: int

    def __call__(self, token_ids: torch.Tensor) -> torch.Tensor: ...

    def linear_layers(self) -> Mapping[str, torch.nn.Linear]: ...


Model = str | Path | LanguageModel


def opened(model: Model) -> Any:
    """The model itself, loaded in float32 when a path or "reference" was given."""
    if not isinstance(model, str | Path):
        return model
    from checkpoint_lens import load_model

    return load_model(model, dtype="float32")


def device_of(model: Any) -> Any:
    """Where the parameters of the model are: tokens must go there."""
    import torch

    first = next(iter(model.parameters()), None) if hasattr(model, "parameters") else None
    return torch.device("cpu") if first is None else first.device


@contextmanager
def frozen(model: Any) -> Iterator[None]:
    """Parameters ask for no gradient inside: theirs are never needed and cost as much as all else."""
    parameters = list(model.parameters()) if hasattr(model, "parameters") else []
    asked = [parameter.requires_grad for parameter in parameters]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, flag in zip(parameters, asked, strict=True):
            parameter.requires_grad_(flag)
