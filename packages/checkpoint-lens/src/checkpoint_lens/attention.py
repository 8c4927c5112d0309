"""Spectra of the attention scores Q K^T, head by head."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from checkpoint_lens.windows import windows
from mfi_command import BadInput, require

if TYPE_CHECKING:
    from checkpoint_lens.causal_lm import CausalLM

TOP = 10
LOW_RANK_SHARE = 0.9


@dataclass(frozen=True)
class HeadSpectrum:
    """Singular values of one head's scores Q K^T / sqrt(head_dim) over a text.

    Attributes
    ----------
    block, head
        Which head; `head` counts query heads.
    singular_values
        (head_dim,) float64, descending; there are no more than head_dim that are not zero.
    top10_energy
        Share of the sum of squares in the ten largest.
    rank_90
        The fewest of them that hold 90 % of the energy.
    low_rank
        True where the ten largest hold at least 90 %.
    """

    block: int
    head: int
    singular_values: tuple[float, ...]
    top10_energy: float
    rank_90: int
    low_rank: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


def attention_spectra(model: CausalLM, text: str, *, context: int = 256) -> list[HeadSpectrum]:
    r"""Singular values of each head's score matrix over the first `context` tokens of a text.

    The scores before mask and softmax are $S = Q K^\top / \sqrt d$ with queries and keys after rotary
    embedding, (n, n) of rank at most d. With $Q = U_q R_q$ and $K = U_k R_k$ the singular values of S are
    those of $R_q R_k^\top / \sqrt d$, a (d, d) matrix: $O(n d^2)$ instead of $O(n^3)$, in float64.

    Parameters
    ----------
    model
        A Llama-shaped model from `load_model`.
    text, context
        The first window of the text that `perplexity` would judge.

    Raises
    ------
    BadInput
        If the model runs through transformers, or as `perplexity` does for the text.
    """
    queries_keys = attention_inputs(model, text, context=context)
    found = []
    for block, (queries, keys) in enumerate(queries_keys):
        shared = len(queries) // len(keys)
        for head, q in enumerate(queries):
            found.append(_spectrum(block, head, q, keys[head // shared]))
    return found


def attention_inputs(
    model: CausalLM, text: str, *, context: int = 256
) -> list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Queries (heads, n, head_dim) and keys (key-value heads, n, head_dim) of each block, rotated.

    Parameters and errors as in `attention_spectra`; values in float64.
    """
    torch = require("torch", extra="torch", distribution="checkpoint-lens")
    from checkpoint_lens.llama.model import Attention, LlamaLM

    if not isinstance(model, LlamaLM):
        raise BadInput("attention spectra are computed for Llama-shaped models only")
    window = windows(model, text, context=context, max_tokens=context)[0]
    found: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = []

    def see(module: Attention, inputs: tuple[Any, ...]) -> None:
        # What follows them is the past of a decode step; here is none.
        x, cos, sin = inputs[:3]
        q, k = module.queries_keys(x, cos, sin)
        found.append((q[0].double().cpu().numpy(), k[0].double().cpu().numpy()))

    with ExitStack() as hooks, torch.inference_mode():
        for module in model.modules():
            if isinstance(module, Attention):
                hooks.callback(module.register_forward_pre_hook(see).remove)
        model(torch.from_numpy(window.ids).to(next(model.parameters()).device)[None])
    return found


def _spectrum(block: int, head: int, q: np.ndarray[Any, Any], k: np.ndarray[Any, Any]) -> HeadSpectrum:
    inner = np.linalg.qr(q).R @ np.linalg.qr(k).R.T
    values = np.linalg.svd(inner / np.sqrt(q.shape[1]), compute_uv=False)
    energy = np.cumsum(values**2) / np.sum(values**2)
    share = float(energy[min(TOP, len(energy)) - 1])
    return HeadSpectrum(
        block=block,
        head=head,
        singular_values=tuple(values.tolist()),
        top10_energy=share,
        rank_90=int(np.searchsorted(energy, LOW_RANK_SHARE)) + 1,
        low_rank=share >= LOW_RANK_SHARE,
    )
