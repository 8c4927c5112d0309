"""Opens model weights one tensor at a time, runs causal language models on text, ships a small trained one.

Importing this package loads nothing but itself: a name is imported when it is first asked for, and torch only
by what runs a model.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from checkpoint_lens.attention import HeadSpectrum, attention_inputs, attention_spectra
    from checkpoint_lens.bundled import read_text, reference_model, reference_path, reference_text
    from checkpoint_lens.causal_lm import CausalLM
    from checkpoint_lens.checkpoint import Checkpoint, TensorInfo
    from checkpoint_lens.layers import LinearLayer
    from checkpoint_lens.loading import load_model
    from checkpoint_lens.matrices import Inventory, LeftOut, WeightMatrix, read_tensor, weight_matrices
    from checkpoint_lens.moments import SecondMoment, second_moments
    from checkpoint_lens.opening import open_checkpoint
    from checkpoint_lens.scoring import Perplexity, perplexity
    from checkpoint_lens.stored.gguf_names import gguf_names

__all__ = [
    "CausalLM",
    "Checkpoint",
    "HeadSpectrum",
    "Inventory",
    "LeftOut",
    "LinearLayer",
    "Perplexity",
    "SecondMoment",
    "TensorInfo",
    "WeightMatrix",
    "attention_inputs",
    "attention_spectra",
    "gguf_names",
    "load_model",
    "open_checkpoint",
    "perplexity",
    "read_tensor",
    "read_text",
    "reference_model",
    "reference_path",
    "reference_text",
    "second_moments",
    "weight_matrices",
]

_HOMES = {
    "attention": ("HeadSpectrum", "attention_inputs", "attention_spectra"),
    "bundled": ("read_text", "reference_model", "reference_path", "reference_text"),
    "causal_lm": ("CausalLM",),
    "checkpoint": ("Checkpoint", "TensorInfo"),
    "layers": ("LinearLayer",),
    "loading": ("load_model",),
    "matrices": ("Inventory", "LeftOut", "WeightMatrix", "read_tensor", "weight_matrices"),
    "moments": ("SecondMoment", "second_moments"),
    "opening": ("open_checkpoint",),
    "stored.gguf_names": ("gguf_names",),
    "scoring": ("Perplexity", "perplexity"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
