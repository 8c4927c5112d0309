"""From MODEL to a model that runs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from checkpoint_lens.llama.shape import is_llama_shaped
from checkpoint_lens.opening import open_checkpoint
from checkpoint_lens.tokens import TokenizerSource, open_tokenizer
from mfi_command import BadInput, require

if TYPE_CHECKING:
    from checkpoint_lens.causal_lm import CausalLM
    from checkpoint_lens.checkpoint import Checkpoint

DTYPES = ("float32", "float64", "bfloat16", "float16")


def load_model(model: str | Path, dtype: str = "float32") -> CausalLM:
    """Load a causal language model on the CPU, in evaluation mode.

    Llama-shaped models (Llama, Mistral without a sliding window, Qwen2, SmolLM2 and many others) run on the
    forward pass of this package; other architectures through transformers, from local files only and without
    running code of the checkpoint.

    Parameters
    ----------
    model
        As for `open_checkpoint`; a config.json is needed (GGUF carries its own).
    dtype
        float32, float64, bfloat16 or float16: the weights are converted to it.

    Returns
    -------
    CausalLM
        `model(token_ids)` gives logits (batch, length, vocabulary).

    Raises
    ------
    BadInput
        As `open_checkpoint`, and if the configuration is missing, lacks a key or does not fit the weights, or
        a tensor holds a NaN or an infinity.
    """
    torch = require("torch", extra="torch", distribution="checkpoint-lens")
    if dtype not in DTYPES:
        raise BadInput(f"dtype {dtype!r} is none of {', '.join(DTYPES)}")
    checkpoint = open_checkpoint(model)
    if checkpoint.config is None:
        raise BadInput(f"no config.json beside the weights of {model}; running a model needs one")
    if is_llama_shaped(checkpoint.config):
        from checkpoint_lens.llama.filling import llama_from

        return llama_from(checkpoint, getattr(torch, dtype), _tokenizer(checkpoint))
    from checkpoint_lens.foreign import load_with_transformers

    return load_with_transformers(checkpoint, getattr(torch, dtype), _tokenizer(checkpoint))


def _tokenizer(checkpoint: Checkpoint) -> TokenizerSource:
    folder = checkpoint.file.parent
    if checkpoint.format == "gguf" and not (folder / "tokenizer.json").is_file():
        from checkpoint_lens.stored.gguf_tokenizer import gguf_tokenizer

        return partial(gguf_tokenizer, checkpoint.file)
    return partial(open_tokenizer, folder)
