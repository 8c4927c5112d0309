"""What every loaded model offers, whoever computes its forward pass. Importing this loads torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from checkpoint_lens.tokens import Tokenizer, TokenizerSource
from mfi_command import BadInput


class CausalLM(nn.Module):
    """A causal language model in evaluation mode: `model(token_ids)` gives logits.

    Attributes
    ----------
    config
        The keys of config.json.
    vocab_size
        Rows of the embedding: token numbers run from 0 to `vocab_size` - 1.
    """

    # Where module names begin: a model inside a wrapper has its own names below this.
    _root = ""

    def __init__(self, config: dict[str, Any], vocab_size: int, tokenizer: TokenizerSource) -> None:
        super().__init__()
        self.config = config
        self.vocab_size = vocab_size
        self._tokenizer_source = tokenizer
        self._tokenizer: Tokenizer | None = None

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, opened on first use: weights alone are enough for what needs no text."""
        if self._tokenizer is None:
            self._tokenizer = self._tokenizer_source()
        return self._tokenizer

    @property
    def max_context(self) -> int | None:
        """The longest window that the configuration allows, None where it does not say."""
        length = self.config.get("max_position_embeddings")
        return length if isinstance(length, int) else None

    def forward(self, token_ids: torch.Tensor) -> torch.Tensor:
        """Logits (batch, length, vocabulary) of token numbers (batch, length) int64."""
        raise NotImplementedError

    def next_logits(self, token_ids: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any] | None:
        """Logits of what follows, one position at a time: what stood before is not computed again.

        Parameters
        ----------
        token_ids
            int64 (batch, length): the beginning of the sequences, then one position a call.
        state
            What the call before returned.

        Returns
        -------
        tuple or None
            Logits (batch, vocabulary) behind the last position, and the state for the next call; None where
            the model keeps no state of this kind.
        """
        return None

    def linear_layers(self) -> dict[str, nn.Linear]:
        """The linear layers by module path, the names of `Checkpoint.linear_layers`; a tied head is none."""
        head = self._tied_head()
        return {
            name.removeprefix(self._root): module
            for name, module in self.named_modules()
            if isinstance(module, nn.Linear) and module is not head
        }

    def replace_layer(self, name: str, module: nn.Module) -> None:
        """Put another module where the linear layer `name` is.

        Raises
        ------
        BadInput
            If there is no such linear layer.
        """
        if name not in self.linear_layers():
            raise BadInput(f"no linear layer {name!r} in this model")
        parent, _, last = (self._root + name).rpartition(".")
        setattr(self.get_submodule(parent), last, module)

    def _tied_head(self) -> nn.Module | None:
        return None
