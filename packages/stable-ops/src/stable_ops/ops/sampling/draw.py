"""Draws: one answer to a row of logits, its filters, a seed and an offset."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfi_command import BadInput
from stable_ops.arrays import Float64, has_kernels, unwrap
from stable_ops.ops.sampling.philox import DRAW_BITS, draws
from stable_ops.ops.sampling.prefix import Descending
from stable_ops.ops.sampling.settings import Settings, read_settings, require_logits, rows_of


def sample(
    logits: Any,
    *,
    temperature: Any = 1.0,
    top_k: Any = None,
    top_p: Any = None,
    min_p: Any = None,
    seed: Any = 0,
    offset: Any = 0,
    size: int | None = None,
    check: bool = True,
) -> Any:
    r"""Draw tokens in proportion to :math:`e^{x/T}` from those that the filters keep.

    The filters apply in the order temperature, top-k, top-p, min-p, each to what the one before it kept, as
    in transformers. Every option but `size` and `check` is one number, or an array with one for each row.

    Parameters
    ----------
    logits : numpy array or torch tensor, shape (..., n)
        float16, bfloat16, float32 or float64; -inf means never.
    temperature : float
        T >= 0; 0 answers the lowest index of the largest logit.
    top_k : int, optional
        Keep exactly so many, from 1; n or more keeps all.
    top_p : float, optional
        In [0, 1]. Keep the shortest prefix with at least p of the mass that top-k left; at least one token.
    min_p : float, optional
        In [0, 1]. Keep what has at least min_p times the largest probability.
    seed, offset : int
        From 0 below 2^63. The draw is a function of both: use the number of the step as the offset.
        One seed for all rows gives row i the stream i; a seed for each row makes a row's token independent of
        where it stands and of what else is in the batch.
    size : int, optional
        Draws from each row; without it one, and no last axis.
    check : bool
        A CUDA tensor's rows are judged on the device. True waits for it, refuses bad rows, and settles
        on the CPU what the kernel left undecided. False does not wait: a bad row answers -1, and an
        undecided one (see Notes) what float64 says.

    Returns
    -------
    int64 array or tensor, shape (...) or (..., size)

    Notes
    -----
    Tokens stand by descending logit, equal ones by ascending index. With real weights
    :math:`w_i = e^{(x_i - \max x)/T}` of the stored numbers and the mass :math:`M(j)` of the first j, top-p
    keeps the smallest j >= 1 with :math:`M(j) \ge p\,M(k)`, and the token drawn is the first with
    :math:`M(j) > u\,M(n)` among the n kept, for :math:`u = \lfloor r/2^{11} \rfloor/2^{53}` and r the first
    64 bits of Philox4x32-10 under the key `seed` at the counter (draw, offset, stream). That is one answer on
    every device: float64 decides outside its error bound, decimal arithmetic of enough digits inside.

    Ties at the border of top-k and top-p go to the lower index, where transformers and vLLM keep all that
    equal the k-th logit. vLLM applies min-p before top-k and top-p: its top-p is a share of fewer tokens.
    A token of probability below 2^-53 may never be drawn. Cost O(n log n) a row on the CPU.

    Raises
    ------
    BadInput
        An option out of range, or not one for each row; a row with NaN, +inf, or -inf alone (it is named).

    References
    ----------
    Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3 (2011). Holtzman et al. (2019) for top-p,
    Nguyen et al., Turning Up the Heat (2024) for min-p.

    Examples
    --------
    >>> sample([1.0, 5.0, 3.0, 5.0], temperature=0)
    np.int64(1)
    >>> sample([[0.0, 9.0], [9.0, 0.0]], top_p=0.9, seed=[7, 7])
    array([1, 0])
    """
    if size is not None and (size < 1 or size > 2**31):
        raise BadInput(f"size must be at least 1 and at most 2^31, got {size}")
    options = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    options |= {"seed": seed, "offset": offset}
    if has_kernels(logits):
        from stable_ops.ops.triton.sampling import sample as sample_on_device

        return sample_on_device(logits, options, size=size, check=check)
    operand = unwrap(logits, "logits")
    rows = rows_of(operand)
    shape = operand.values.shape[:-1]
    settings = read_settings(shape, **options)
    require_logits(rows)
    tokens = np.empty((len(rows), size or 1), dtype=np.int64)
    for i, drawn in enumerate(draw_rows(rows, settings, size or 1)):
        tokens[i] = drawn
    return operand.like(tokens.reshape(shape if size is None else (*shape, size)))


def top_k_sample(
    logits: Any, k: Any, *, temperature: Any = 1.0, seed: Any = 0, offset: Any = 0, size: int | None = None
) -> Any:
    """`sample` from the k largest logits, from 1.

    Other parameters, shapes, errors raised, cost and references are those of `sample`; the set is exact.

    Examples
    --------
    >>> top_k_sample([1.0, 5.0, 3.0], 1)
    np.int64(1)
    """
    return sample(logits, top_k=k, temperature=temperature, seed=seed, offset=offset, size=size)


def top_p_sample(
    logits: Any,
    p: Any = 0.9,
    *,
    temperature: Any = 1.0,
    seed: Any = 0,
    offset: Any = 0,
    size: int | None = None,
) -> Any:
    """`sample` from the smallest set of most probable tokens that holds a share p, in [0, 1].

    Other parameters, shapes, errors raised, cost and references are those of `sample`; the set is exact.

    Examples
    --------
    >>> top_p_sample([0.0, 20.0, 0.0], 0.5, size=4)
    array([1, 1, 1, 1])
    """
    return sample(logits, top_p=p, temperature=temperature, seed=seed, offset=offset, size=size)


def min_p_sample(
    logits: Any, p: Any, *, temperature: Any = 1.0, seed: Any = 0, offset: Any = 0, size: int | None = None
) -> Any:
    """`sample` from the tokens with at least p times the largest probability, p in [0, 1].

    Other parameters, shapes, errors raised, cost and references are those of `sample`; the set is exact.

    Examples
    --------
    >>> min_p_sample([0.0, 20.0, 0.0], 0.1, size=4)
    array([1, 1, 1, 1])
    """
    return sample(logits, min_p=p, temperature=temperature, seed=seed, offset=offset, size=size)


def draw_rows(rows: Float64, settings: Settings, size: int) -> Iterator[NDArray[np.int64]]:
    """The draws of each row, shape (size,)."""
    for i, row in enumerate(rows):
        temperature = float(settings.temperature[i])
        if temperature == 0:
            yield np.full(size, int(np.argmax(row)), dtype=np.int64)
            continue
        ordered = Descending(row, temperature)
        numbers = draws(int(settings.seed[i]), int(settings.offset[i]), int(settings.stream[i]), size)
        yield ordered.tokens[ordered.passing(numbers, 2**DRAW_BITS, kept(ordered, settings, i))]


def settle(row: Float64, settings: Settings, i: int, number: int) -> int:
    """Draw `number` of row i alone."""
    drawn = next(draw_rows(row[None], settings.only(i), number + 1))
    return int(drawn[number])


def kept(ordered: Descending, settings: Settings, i: int) -> int:
    """How many tokens, in order, the filters of row i keep."""
    return min(limits(ordered, settings, i).values())


def limits(ordered: Descending, settings: Settings, i: int) -> dict[str, int]:
    """How many tokens each filter would keep; top-p of what top-k keeps. Each keeps a prefix of the order."""
    top_k = min(int(settings.top_k[i]), ordered.tokens.size)
    return {
        "top_k": top_k,
        "top_p": ordered.reaching(Fraction(float(settings.top_p[i])), top_k),
        "min_p": ordered.at_least(float(settings.min_p[i])),
    }
