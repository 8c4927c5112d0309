"""What is asked of each row: read once, checked, one number a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfi_command import BadInput
from stable_ops.arrays import Float64, Operand, is_tensor

# A top_k beyond any row: all tokens.
ALL = 2**31 - 1
_SEED_LIMIT = 2**63 - 1
_HUGE = float(np.finfo(np.float64).max)


@dataclass(frozen=True)
class Settings:
    """The filters and the random stream of each row, arrays of shape (rows,).

    Attributes
    ----------
    temperature, top_p, min_p : float64 arrays
    top_k, seed, offset : int64 arrays
    stream : int64 array
        0 in every row whose seed is its own, else the number of the row.
    """

    temperature: Float64
    top_k: NDArray[np.int64]
    top_p: Float64
    min_p: Float64
    seed: NDArray[np.int64]
    offset: NDArray[np.int64]
    stream: NDArray[np.int64]

    def only(self, row: int) -> Settings:
        """The settings of one row."""
        return Settings(**{name: values[row : row + 1] for name, values in vars(self).items()})


def read_settings(
    shape: tuple[int, ...],
    *,
    temperature: Any = 1.0,
    top_k: Any = None,
    top_p: Any = None,
    min_p: Any = None,
    seed: Any = 0,
    offset: Any = 0,
) -> Settings:
    """Every option as one number for each row of logits of shape (*shape, n); None turns a filter off."""
    seeds = per_row(seed, "seed", shape, np.int64, (0, _SEED_LIMIT))
    return Settings(
        temperature=per_row(temperature, "temperature", shape, np.float64, (0.0, _HUGE)),
        top_k=per_row(ALL if top_k is None else top_k, "top_k", shape, np.int64, (1, _SEED_LIMIT)),
        top_p=per_row(1.0 if top_p is None else top_p, "top_p", shape, np.float64, (0.0, 1.0)),
        min_p=per_row(0.0 if min_p is None else min_p, "min_p", shape, np.float64, (0.0, 1.0)),
        seed=seeds,
        offset=per_row(offset, "offset", shape, np.int64, (0, _SEED_LIMIT)),
        stream=np.arange(seeds.size) if np.ndim(seed) == 0 else np.zeros(seeds.size, dtype=np.int64),
    )


def per_row(
    value: Any, name: str, shape: tuple[int, ...], dtype: Any, limits: tuple[float, float]
) -> NDArray[Any]:
    """A number, or an array that broadcasts to `shape`, as a flat array of one number a row."""
    given = np.asarray(value.detach().cpu().numpy() if is_tensor(value) else value)
    whole = np.issubdtype(dtype, np.integer)
    if given.dtype.kind not in ("iu" if whole else "iuf"):
        raise BadInput(f"{name} must be {'an integer' if whole else 'a number'}, got {value!r:.60}")
    low, high = limits
    if not ((given >= low) & (given <= high)).all():
        wrong = given[~((given >= low) & (given <= high))].reshape(-1)[0]
        raise BadInput(f"{name} must {_range(low, high)}, got {wrong}")
    try:
        return np.broadcast_to(given.astype(dtype), shape).reshape(-1)
    except ValueError:
        raise BadInput(
            f"{name} has shape {given.shape}, the rows have {shape}: pass one number, or one for each row"
        ) from None


def rows_of(operand: Operand) -> Float64:
    """The values as float64 rows (m, n)."""
    values = operand.values
    if values.ndim == 0 or values.shape[-1] == 0:
        raise BadInput(f"a row of at least one token is needed, got shape {values.shape}")
    return values.reshape(-1, values.shape[-1]).astype(np.float64)


def require_logits(rows: Float64) -> None:
    """Refuse the first row that has no distribution."""
    peak = rows.max(axis=-1)  # NaN if the row holds one
    if not np.isfinite(peak).all():
        refuse_row(int(np.argmin(np.isfinite(peak))), float(peak[~np.isfinite(peak)][0]))


def refuse_row(row: int, peak: float) -> None:
    """The error for a row of logits whose largest is no number."""
    what = "-inf alone" if peak == -np.inf else "NaN" if np.isnan(peak) else "+inf"
    raise BadInput(f"row {row} of the logits holds {what}: mask with -inf, leave a token, and no NaN or +inf")


def _range(low: float, high: float) -> str:
    if high == _HUGE:
        return "be finite and not negative"
    return f"be at least {low}" if high == _SEED_LIMIT else f"lie in [{low:g}, {high:g}]"
