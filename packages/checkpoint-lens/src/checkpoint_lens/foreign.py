"""Architectures that are not Llama-shaped, through transformers: local files only, never their own code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from checkpoint_lens.causal_lm import CausalLM
from checkpoint_lens.tokens import TokenizerSource
from mfi_command import BadInput, require

if TYPE_CHECKING:
    from checkpoint_lens.checkpoint import Checkpoint


class ForeignLM(CausalLM):
    """A model of transformers behind our interface; layer names are those inside `inner`."""

    _root = "inner."

    def __init__(self, inner: Any, *, config: dict[str, Any], tokenizer: TokenizerSource) -> None:
        super().__init__(config, inner.get_input_embeddings().num_embeddings, tokenizer)
        self.inner = inner

    def forward(self, token_ids: torch.Tensor) -> torch.Tensor:
        """Logits (batch, length, vocabulary) of token numbers (batch, length) int64."""
        logits: torch.Tensor = self.inner(input_ids=token_ids, use_cache=False).logits
        return logits

    def next_logits(self, token_ids: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any] | None:
        """As `CausalLM.next_logits`; the state is transformers' cache of keys and values."""
        found = self.inner(input_ids=token_ids, past_key_values=state, use_cache=True)
        kept = getattr(found, "past_key_values", None)
        return None if kept is None else (found.logits[:, -1], kept)

    def _tied_head(self) -> torch.nn.Module | None:
        head = self.inner.get_output_embeddings()
        tied = head is not None and head.weight is self.inner.get_input_embeddings().weight
        return head if tied else None


def load_with_transformers(
    checkpoint: Checkpoint, dtype: torch.dtype, tokenizer: TokenizerSource
) -> ForeignLM:
    """Load a Hugging Face folder with transformers.

    Raises
    ------
    BadInput
        If transformers is missing or does not know the architecture, the folder needs its own code, weights
        are missing or of another shape, or one is NaN or infinite.
    """
    config = checkpoint.config or {}
    kind = config.get("model_type")
    if not checkpoint.path.is_dir() or checkpoint.format == "gguf":
        raise BadInput(
            f"{checkpoint.path}: architecture {kind!r} is not Llama-shaped; give the Hugging Face folder, "
            "which transformers can load"
        )
    if kind is None:
        raise BadInput(
            f"{checkpoint.path}: config.json has no model_type; it says which architecture this is"
        )
    transformers = require("transformers", extra="hf", distribution="checkpoint-lens")
    try:
        inner, loading = transformers.AutoModelForCausalLM.from_pretrained(
            checkpoint.path,
            local_files_only=True,
            trust_remote_code=False,
            dtype=dtype,
            output_loading_info=True,
        )
    except Exception as error:  # its errors have no common base, and every one here is about the folder
        raise BadInput(f"transformers cannot load {checkpoint.path}: {_first_line(error)}") from error
    _complete(loading, str(checkpoint.path))
    _finite(inner, str(checkpoint.path))
    inner.requires_grad_(False)
    return ForeignLM(inner, config=config, tokenizer=tokenizer).eval()


def _complete(loading: dict[str, Any], where: str) -> None:
    """transformers fills what is missing with random numbers and only warns."""
    for problem in ("missing_keys", "mismatched_keys"):
        if found := sorted(map(str, loading.get(problem) or ())):
            raise BadInput(f"{where}: {problem.replace('_', ' ')}, the first is {found[0]}")


def _finite(model: torch.nn.Module, where: str) -> None:
    for name, parameter in model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise BadInput(f"{where}: tensor {name} holds NaN or infinite values; the checkpoint is damaged")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
