"""What one forward pass works on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pass:
    """What one forward pass works on.

    Attributes
    ----------
    batch, queries, keys
        Sequences; new tokens of each; positions that attention covers, the new ones included.
    dtype, weight_dtype, kv_dtype
        Of the arithmetic and activations, of the stored weights, of the cache.
    fused
        One product for q, k, v and one for gate and up, as serving engines do.
    last_logits
        The head runs on the last position of each sequence only.
    causal_skip
        The causal triangle is skipped, not computed and masked.
    every_expert
        All weights of a mixture of experts, not those that the tokens are expected to touch.
    """

    batch: int
    queries: int
    keys: int
    dtype: str
    weight_dtype: str
    kv_dtype: str
    fused: bool = False
    last_logits: bool = True
    causal_skip: bool = True
    every_expert: bool = False

    @property
    def tokens(self) -> int:
        """New tokens of all sequences."""
        return self.batch * self.queries
