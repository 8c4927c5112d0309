"""Attention over blocks of keys with the state of online softmax: FlashAttention's algorithm, to be read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfi_command import BadInput
from stable_ops.arrays import Float64, Operand, unwrap
from stable_ops.ops.online import OnlineSoftmax


def attention(
    q: Any,
    k: Any,
    v: Any,
    *,
    causal: bool = False,
    mask: Any = None,
    scale: float | None = None,
    block: int = 256,
) -> Any:
    """:math:`\\mathrm{softmax}(s\\,q k^T + M)\\,v`, a block of keys at a time, rounded once.

    Parameters
    ----------
    q : numpy array or torch tensor, shape (..., m, d)
    k : array or tensor, shape (..., n, d)
    v : array or tensor, shape (..., n, e)
        Leading shapes are broadcast: heads that share keys have an axis of length 1 there.
    causal : bool
        Query i sees the keys up to i + n - m: the last query sees all, as with a cache of earlier keys.
    mask : array or tensor, broadcast to (..., m, n), optional
        Of bool: True where a query may look. Of floats: added to the scores, -inf forbids.
    scale : float, optional
        :math:`1/\\sqrt d` unless given.
    block : int
        Queries and keys at a time.

    Returns
    -------
    numpy array or torch tensor, shape (..., m, e)
        In the dtype and on the device of q. Zero for a query that may look at nothing.

    Notes
    -----
    For each block of keys, with scores :math:`s_{ij}` and the reference :math:`r_i` of `OnlineSoftmax`:
    :math:`w_{ij} = e^{s_{ij} - r_i}`, :math:`l_i \\mathrel{+}= \\sum_j w_{ij}`,
    :math:`a_i \\mathrel{+}= \\sum_j w_{ij} v_j`, both rescaled first where r moved; the answer is
    :math:`a_i / l_i`. All of it in float64: before the one rounding the error is at most about
    :math:`(2 d S + n)\\,2^{-53} \\sum_j p_j |v_j|`, S the largest :math:`|s|\\,|q|^T|k|`, so that neither the
    size of a block nor their order is seen in a 16-bit result unless the exact one is that close to a tie.
    This is the algorithm, not a fast one: cost O(m n (d + e)), memory O(block^2) for each leading index; on a
    CUDA device through host memory. A value that is NaN or infinite spoils the queries that may not look at
    it, too: 0 times NaN is NaN.

    Raises
    ------
    BadInput
        Shapes that do not fit, a block below 1.

    References
    ----------
    Dao, Fu, Ermon, Rudra, Ré, FlashAttention (2022), algorithm 1; Milakov, Gimelshein (2018).

    Examples
    --------
    >>> import numpy as np
    >>> q = k = v = np.eye(2)
    >>> attention(q, k, v, causal=True, scale=1.0).round(4)
    array([[1.    , 0.    ],
           [0.2689, 0.7311]])
    """
    query, key, value = unwrap(q, "q"), unwrap(k, "k"), unwrap(v, "v")
    lead = _leading_shape(query.values, key.values, value.values)
    if block < 1:
        raise BadInput(f"block must be at least 1, got {block}")
    (m, d), n = query.values.shape[-2:], key.values.shape[-2]
    factor = 1.0 / math.sqrt(max(d, 1)) if scale is None else scale
    masks = [] if mask is None else [_given(mask, (*lead, m, n))]
    if causal:
        masks.append(lambda i, j, scores: np.where(_range(j) <= _range(i)[:, None] + n - m, scores, -np.inf))
    out = np.zeros((*lead, m, value.values.shape[-1]))
    with np.errstate(all="ignore"):
        for i in _blocks(m, block):
            state, rows = OnlineSoftmax((*lead, i.stop - i.start)), out[..., i, :]
            for j in _blocks(n, block):
                scores = factor * (_wide(query, i) @ np.swapaxes(_wide(key, j), -1, -2))
                for forbid in masks:
                    scores = forbid(i, j, scores)
                weights, moved = state.absorb(np.broadcast_to(scores, (*lead, *scores.shape[-2:])))
                rows *= moved[..., None]
                rows += weights @ _wide(value, j)
            # Nothing seen is zero over zero.
            rows /= np.where(state.total == 0, 1.0, state.total)[..., None]
    return query.restore(out)


_Forbid = Callable[[slice, slice, Float64], Float64]


def _given(mask: Any, shape: tuple[int, ...]) -> _Forbid:
    """A mask of bool, True where one may look, or of floats to be added."""
    boolean = "bool" in str(getattr(mask, "dtype", np.asarray(mask).dtype))
    values = unwrap(mask, "mask").values
    try:
        whole = np.broadcast_to(values != 0 if boolean else values, shape)
    except ValueError:
        raise BadInput(f"mask has shape {values.shape}: pass one that broadcasts to {shape}") from None

    def forbid(i: slice, j: slice, scores: Float64) -> Float64:
        part = whole[..., i, j]
        return np.where(part, scores, -np.inf) if boolean else scores + part

    return forbid


def _leading_shape(q: NDArray[Any], k: NDArray[Any], v: NDArray[Any]) -> tuple[int, ...]:
    given = f"q {q.shape}, k {k.shape}, v {v.shape}"
    if min(q.ndim, k.ndim, v.ndim) < 2 or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise BadInput(f"{given} do not fit: pass (..., m, d), (..., n, d) and (..., n, e)")
    try:
        return np.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    except ValueError:
        raise BadInput(f"leading shapes of {given} do not broadcast: repeat the shared heads") from None


def _blocks(length: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, length)) for start in range(0, length, size))


def _range(part: slice) -> NDArray[np.intp]:
    return np.arange(part.start, part.stop)


def _wide(x: Operand, part: slice) -> Float64:
    return x.values[..., part, :].astype(np.float64)
