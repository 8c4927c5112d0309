"""The forward pass of a Llama-shaped model in plain torch; modules have the names of Hugging Face's."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.functional import linear, scaled_dot_product_attention, silu

from checkpoint_lens.causal_lm import CausalLM
from checkpoint_lens.llama.rotary import cos_sin, inverse_frequencies, rotate
from checkpoint_lens.llama.shape import LlamaShape
from checkpoint_lens.tokens import TokenizerSource


class RMSNorm(nn.Module):
    r"""$y = w \cdot x / \sqrt{\mathrm{mean}(x^2) + \epsilon}$, the mean in float32 at least."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalize the last axis; the dtype of `x` comes back."""
        wide = x if x.dtype == torch.float64 else x.float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * wide.to(x.dtype)


class Past:
    """Keys and values (batch, key-value heads, length, head_dim) of the positions that one block has seen."""

    def __init__(self) -> None:
        self.keys: torch.Tensor | None = None
        self.values: torch.Tensor | None = None

    @property
    def length(self) -> int:
        return 0 if self.keys is None else self.keys.shape[2]

    def extended(self, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """All keys and values, with these behind the others."""
        if self.keys is not None and self.values is not None:
            keys, values = torch.cat((self.keys, keys), 2), torch.cat((self.values, values), 2)
        self.keys, self.values = keys, values
        return keys, values


class Attention(nn.Module):
    """Causal self-attention; each key-value head serves several query heads."""

    def __init__(self, shape: LlamaShape, biased: Collection[str]) -> None:
        super().__init__()
        self.head_dim = shape.head_dim
        queries = shape.num_attention_heads * shape.head_dim
        keys = shape.num_key_value_heads * shape.head_dim
        self.q_proj = nn.Linear(shape.hidden_size, queries, bias="q_proj" in biased)
        self.k_proj = nn.Linear(shape.hidden_size, keys, bias="k_proj" in biased)
        self.v_proj = nn.Linear(shape.hidden_size, keys, bias="v_proj" in biased)
        self.o_proj = nn.Linear(queries, shape.hidden_size, bias="o_proj" in biased)

    def queries_keys(
        self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Rotated queries (batch, heads, length, head_dim) and keys (batch, key-value heads, ...) of `x`."""
        return rotate(self._heads(self.q_proj(x)), cos, sin), rotate(self._heads(self.k_proj(x)), cos, sin)

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        return x.view(batch, length, width // self.head_dim, self.head_dim).transpose(1, 2)

    def forward(
        self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, past: Past | None = None
    ) -> torch.Tensor:
        """(batch, length, hidden) to the same; behind a `past` that is not empty the length is 1."""
        q, k = self.queries_keys(x, cos, sin)
        v = self._heads(self.v_proj(x))
        alone = past is None or not past.length
        if past is not None:
            k, v = past.extended(k, v)
        mixed = scaled_dot_product_attention(q, k, v, is_causal=alone, enable_gqa=q.shape[1] != k.shape[1])
        return self.o_proj(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class MLP(nn.Module):
    """SwiGLU: down(silu(gate(x)) * up(x))."""

    def __init__(self, shape: LlamaShape, biased: Collection[str]) -> None:
        super().__init__()
        inner = shape.intermediate_size
        self.gate_proj = nn.Linear(shape.hidden_size, inner, bias="gate_proj" in biased)
        self.up_proj = nn.Linear(shape.hidden_size, inner, bias="up_proj" in biased)
        self.down_proj = nn.Linear(inner, shape.hidden_size, bias="down_proj" in biased)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, length, hidden) to the same."""
        return self.down_proj(silu(self.gate_proj(x)) * self.up_proj(x))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention and MLP, each behind its norm and added to what came in."""

    def __init__(self, shape: LlamaShape, biased: Collection[str]) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.self_attn = Attention(shape, biased)
        self.post_attention_layernorm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.mlp = MLP(shape, biased)

    def forward(
        self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, past: Past | None = None
    ) -> torch.Tensor:
        """(batch, length, hidden) to the same."""
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, past)
        return x + self.mlp(self.post_attention_layernorm(x))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Embedding, blocks, final norm."""

    def __init__(self, shape: LlamaShape, biased: Collection[str]) -> None:
        super().__init__()
        # Drawing random rows that are then overwritten would make torch load its symbolic machinery (sympy).
        rows = torch.empty(shape.vocab_size, shape.hidden_size)
        self.embed_tokens = nn.Embedding.from_pretrained(rows)  # type: ignore[no-untyped-call]
        self.layers = nn.ModuleList(Block(shape, biased) for _ in range(shape.num_hidden_layers))
        self.norm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self._shape = shape
        self._frequencies: torch.Tensor | None = None

    def forward(self, token_ids: torch.Tensor, past: Sequence[Past] | None = None) -> torch.Tensor:
        """Token numbers (batch, length) to normed hidden states (batch, length, hidden)."""
        x = self.embed_tokens(token_ids)
        if self._frequencies is None or self._frequencies.device != x.device:
            # No buffer: `model.to(bfloat16)` must not round the angles.
            self._frequencies = inverse_frequencies(self._shape.rope, self._shape.head_dim).to(x.device)
        start = past[0].length if past else 0
        cos, sin = cos_sin(self._frequencies, token_ids.shape[1], x.dtype, start)
        for at, block in enumerate(self.layers):
            # Without a past the call stays the plain one: a block may be another module in its place.
            x = block(x, cos, sin) if past is None else block(x, cos, sin, past[at])
        return self.norm(x)  # type: ignore[no-any-return]


class LlamaLM(CausalLM):
    """A Llama-shaped causal language model.

    Parameters
    ----------
    shape
        Sizes and constants.
    biased
        Names of the projections that add a bias, of q_proj k_proj v_proj o_proj gate_proj up_proj down_proj.
    """

    def __init__(
        self,
        shape: LlamaShape,
        biased: Collection[str],
        *,
        config: dict[str, Any],
        tokenizer: TokenizerSource,
    ) -> None:
        super().__init__(config, shape.vocab_size, tokenizer)
        self.model = Decoder(shape, biased)
        tied = shape.tie_word_embeddings
        self.lm_head = None if tied else nn.Linear(shape.hidden_size, shape.vocab_size, bias=False)

    def forward(self, token_ids: torch.Tensor) -> torch.Tensor:
        """Logits (batch, length, vocabulary) of token numbers (batch, length) int64."""
        return self._logits(self.model(token_ids))

    def next_logits(self, token_ids: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        """As `CausalLM.next_logits`; the state is a list of `Past`."""
        past = [Past() for _ in self.model.layers] if state is None else state
        return self._logits(self.model(token_ids, past)[:, -1]), past

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        if self.lm_head is None:
            return linear(hidden, self.model.embed_tokens.weight)
        return self.lm_head(hidden)  # type: ignore[no-any-return]
