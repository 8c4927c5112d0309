"""Hypothesis strategies: a seed, a kind, a shape, a dtype and a layout are drawn, never the elements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from stable_ops.testing.inputs import KINDS, SHAPES, draw

LAYOUTS = ("contiguous", "reversed", "strided", "transposed", "repeated")


@dataclass(frozen=True)
class Drawn:
    """Rows and how they came about; Hypothesis prints it with a failure."""

    seed: int
    kind: str
    shape: tuple[int, int]
    dtype: str
    layout: str

    @property
    def array(self) -> NDArray[Any]:
        """The rows (rows, n), in the dtype and layout."""
        x = draw(self.kind, self.seed, self.shape).astype(numpy_dtype(self.dtype))
        return _lay_out(x, self.layout)


def rows(
    *,
    dtypes: Sequence[str] = ("float16", "float32", "float64"),
    kinds: Sequence[str] = tuple(KINDS),
    shapes: Sequence[tuple[int, int]] = tuple(SHAPES[:-1]),
    layouts: Sequence[str] = LAYOUTS,
) -> st.SearchStrategy[Drawn]:
    """Rows for an operator; `.array` of what is drawn is a numpy array of shape (rows, n).

    Parameters
    ----------
    dtypes : sequence of str
        "bfloat16" needs ml_dtypes.
    kinds : sequence of str
        Keys of `stable_ops.testing.inputs.KINDS` or `MASKED_KINDS`.
    shapes, layouts : sequence
        Layouts: contiguous, reversed (negative step), strided (every second column), transposed, repeated
        (all rows one, step 0).
    """
    return st.builds(
        Drawn,
        seed=st.integers(0, 2**32 - 1),
        kind=st.sampled_from(list(kinds)),
        shape=st.sampled_from(list(shapes)),
        dtype=st.sampled_from(list(dtypes)),
        layout=st.sampled_from(list(layouts)),
    )


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The numpy dtype of that name, bfloat16 from ml_dtypes."""
    if name != "bfloat16":
        return np.dtype(name)
    import ml_dtypes

    bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return bfloat16


def _lay_out(x: NDArray[Any], layout: str) -> NDArray[Any]:
    if layout == "reversed":
        return x[:, ::-1]
    if layout == "strided":
        return np.repeat(x, 2, axis=1)[:, ::2]
    if layout == "transposed":
        return np.asfortranarray(x)
    return np.broadcast_to(x[:1], x.shape) if layout == "repeated" else x
