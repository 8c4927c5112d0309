r"""How many directions each head really uses: the products $W_q^T W_k$ and $W_o W_v$, and the scores.

A head compares inputs by $x_i^T W_q^T W_k x_j$ (before rotation) and passes on $W_o W_v x_j$: both products
are (hidden, hidden) and of rank head_dim at most. Each factor alone may have full rank and the product may
not. The
*effective rank* is $\exp(-\sum p_i \log p_i)$ with $p_i = \sigma_i^2 / \sum\sigma_j^2$ (Roy and Vetterli,
EUSIPCO 2007, with energies in place of singular values): k equal values give k.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mfi_command import BadInput
from svd_compress.matrices import Float64, smallest_rank, svd, tail_sums

if TYPE_CHECKING:
    from checkpoint_lens import Checkpoint

TOP, LOW_RANK_SHARE = 10, 0.9


@dataclass(frozen=True)
class HeadProduct:
    """One product of one head.

    Attributes
    ----------
    block, head
        Which head; `head` counts query heads.
    product
        "qk", "vo", or "scores" (Q K^T over a text, rotated).
    effective_rank
        See the module.
    rank_90
        The fewest singular values with 90 % of the energy.
    top10_energy
        Share of the energy in the ten largest.
    low_rank
        Whether those hold at least 90 %.
    head_dim
        The rank that the product could have.
    """

    block: int
    head: int
    product: str
    effective_rank: float
    rank_90: int
    top10_energy: float
    low_rank: bool
    head_dim: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


def effective_rank(energies: Float64) -> float:
    """exp of the entropy of the energies as shares; 0 for a product of zeros."""
    total = float(energies.sum())
    if total <= 0.0:
        return 0.0
    shares = energies[energies > 0] / total
    return float(np.exp(-(shares * np.log(shares)).sum()))


def product_energies(left: Float64, right: Float64) -> Float64:
    """Squared singular values of left^T right for two (d, n) matrices with d <= n, in O(n d^2).

    With left^T = Q_1 R_1 and right^T = Q_2 R_2 they are those of R_1 R_2^T, a (d, d) matrix.
    """
    inner = np.linalg.qr(left.T).R @ np.linalg.qr(right.T).R.T
    energies: Float64 = svd(inner)[1] ** 2
    return energies


def head_products(
    model: str | Path | Checkpoint, *, text: str | None = None, context: int = 256
) -> list[HeadProduct]:
    """The products of every head of a Llama-shaped model; with a text also the scores on it.

    Parameters
    ----------
    model
        MODEL of checkpoint_lens, or an open checkpoint.
    text
        Text whose first window the scores are computed on; the model is run for it.
    context
        Tokens of the window.

    Raises
    ------
    BadInput
        If the model has no attention of this kind, or its configuration does not fit its weights.
    """
    from checkpoint_lens import open_checkpoint

    checkpoint = open_checkpoint(model) if isinstance(model, str | Path) else model
    found = [item for block in _blocks(checkpoint) for item in _of_block(checkpoint, block)]
    if not found:
        raise BadInput(
            f"{checkpoint.path} has no q_proj, k_proj, v_proj and o_proj: no attention to take apart"
        )
    return [*found, *_scores(checkpoint, text, context)] if text is not None else found


def _blocks(checkpoint: Checkpoint) -> list[int]:
    return sorted(
        item.block for item in checkpoint.linear_layers() if item.role == "q" and item.block is not None
    )


def _of_block(checkpoint: Checkpoint, block: int) -> Iterator[HeadProduct]:
    parts = {
        item.role: checkpoint[item.tensor].astype(np.float64)
        for item in checkpoint.linear_layers()
        if item.block == block and item.role in "qkvo"
    }
    heads, groups, dim = _heads(checkpoint, parts)
    shared = heads // groups
    for head in range(heads):
        own = slice(head * dim, (head + 1) * dim)
        served = slice(head // shared * dim, (head // shared + 1) * dim)
        pairs = {
            "qk": (parts["q"][own], parts["k"][served]),
            # W_o W_v = (W_o^T)^T W_v with the head's columns of W_o.
            "vo": (parts["o"][:, own].T, parts["v"][served]),
        }
        for name, (left, right) in pairs.items():
            yield _product(block, head, name, product_energies(left, right))


def _heads(checkpoint: Checkpoint, parts: dict[str, Float64]) -> tuple[int, int, int]:
    config = checkpoint.config or {}
    heads = config.get("num_attention_heads")
    groups = config.get("num_key_value_heads", heads)
    if not isinstance(heads, int) or not isinstance(groups, int) or heads < 1 or groups < 1:
        raise BadInput(f"{checkpoint.path}: its config.json does not say how many heads it has")
    dim = len(parts["q"]) // heads if "q" in parts else 0
    fits = set(parts) == set("qkvo") and dim * heads == len(parts["q"]) == parts["o"].shape[1]
    if not fits or not len(parts["k"]) == len(parts["v"]) == groups * dim or heads % groups:
        raise BadInput(
            f"{checkpoint.path}: its attention matrices do not fit {heads} heads and {groups} groups"
        )
    return heads, groups, dim


def _product(block: int, head: int, name: str, energies: Float64) -> HeadProduct:
    tails = tail_sums(energies)
    share = float(1.0 - tails[min(TOP, len(energies))] / tails[0]) if tails[0] else 1.0
    return HeadProduct(
        block=block,
        head=head,
        product=name,
        effective_rank=effective_rank(energies),
        rank_90=smallest_rank(energies, LOW_RANK_SHARE),
        top10_energy=share,
        low_rank=share >= LOW_RANK_SHARE,
        head_dim=len(energies),
    )


def _scores(checkpoint: Checkpoint, text: str, context: int) -> Iterator[HeadProduct]:
    from checkpoint_lens import attention_spectra, load_model

    for head in attention_spectra(load_model(checkpoint.path), text, context=context):
        energies = np.square(np.array(head.singular_values))
        yield _product(head.block, head.head, "scores", energies)
