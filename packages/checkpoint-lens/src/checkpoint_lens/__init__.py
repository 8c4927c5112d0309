"""Opens model weights one tensor at a time, runs causal language models on text, ships a small trained one.

Importing this package loads numpy and no torch; functions that run a model import it when called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from checkpoint_lens.attention import HeadSpectrum, attention_inputs, attention_spectra
from checkpoint_lens.bundled import read_text, reference_model, reference_path, reference_text
from checkpoint_lens.checkpoint import Checkpoint, TensorInfo
from checkpoint_lens.layers import LinearLayer
from checkpoint_lens.loading import load_model
from checkpoint_lens.moments import SecondMoment, second_moments
from checkpoint_lens.opening import open_checkpoint
from checkpoint_lens.scoring import Perplexity, perplexity

if TYPE_CHECKING:
    from checkpoint_lens.causal_lm import CausalLM

__all__ = [
    "CausalLM",
    "Checkpoint",
    "HeadSpectrum",
    "LinearLayer",
    "Perplexity",
    "SecondMoment",
    "TensorInfo",
    "attention_inputs",
    "attention_spectra",
    "load_model",
    "open_checkpoint",
    "perplexity",
    "read_text",
    "reference_model",
    "reference_path",
    "reference_text",
    "second_moments",
]


def __getattr__(name: str) -> Any:
    """`CausalLM` is a torch module: it loads torch, so it is looked up only when named."""
    if name == "CausalLM":
        from checkpoint_lens.causal_lm import CausalLM

        return CausalLM
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
