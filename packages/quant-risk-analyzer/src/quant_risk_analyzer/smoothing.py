"""Outliers moved from a weight into what feeds it, without changing what the model computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mfi_command import BadInput

if TYPE_CHECKING:
    import torch

Array = np.ndarray[Any, Any]


def smoothing_factors(weights: Sequence[Array], inputs: Array, *, strength: float = 0.5) -> Array:
    r"""Factors for the input channels of layers that read the same input.

    .. math:: f_j = \frac{\mathrm{size}(x_j)^a}{\max_i |W_{ij}|^{1-a}}

    Columns times :math:`f_j` and inputs divided by it give the same products. At a = 1/2 a channel's weights
    and its activations become equally large; at 0 all columns of the weights do.

    Parameters
    ----------
    weights
        Weights (out, in) of all layers that read this input: q, k and v, or gate and up.
    inputs
        Size of each input channel (in,): the largest magnitude, or the root mean square.
    strength
        The exponent a, in [0, 1].

    Returns
    -------
    array (in,), float64
        1 for a channel without activations or without weights.

    Raises
    ------
    BadInput
        Shapes that do not fit, negative or non-finite sizes, a strength outside [0, 1].

    Notes
    -----
    Cost O(out * in). Source: Xiao et al., "SmoothQuant", ICML 2023, equation 4.

    Examples
    --------
    >>> import numpy as np
    >>> smoothing_factors([np.array([[4.0, -1.0], [1.0, 0.25]])], np.array([1.0, 1.0])).tolist()
    [0.5, 1.0]
    """
    sizes = np.asarray(inputs, dtype=np.float64)
    matrices = [np.asarray(each, dtype=np.float64) for each in weights]
    if not matrices or any(each.ndim != 2 or each.shape[1:] != sizes.shape for each in matrices):
        shapes = [each.shape for each in matrices]
        raise BadInput(f"weights {shapes} and input sizes {sizes.shape}: expected (out, in) and (in,)")
    if not 0 <= strength <= 1:
        raise BadInput(f"strength {strength}: expected a number from 0 to 1")
    largest = np.max([np.abs(each).max(0) for each in matrices], axis=0)
    if not np.isfinite(largest).all() or not np.isfinite(sizes).all() or (sizes < 0).any():
        raise BadInput("weights and input sizes must be finite, and sizes not negative")
    used = (largest > 0) & (sizes > 0)
    factors = np.ones_like(sizes)
    factors[used] = sizes[used] ** strength / largest[used] ** (1 - strength)
    return factors


def migrate(factors: Array, *, producer: Any, consumers: Sequence[torch.nn.Linear]) -> None:
    r"""Multiply input channels of layers, divide what produces them: the model computes the same.

    .. math:: W' = W\,\mathrm{diag}(f), \qquad g' = g / f

    Parameters
    ----------
    factors
        Positive factors (in,), for instance from `smoothing_factors`.
    producer
        The normalization (gain (in,)) or linear layer (weight (in, ...)) whose output the consumers read;
        a bias is divided as well. Nothing else may read that output.
    consumers
        All linear layers that read it; changed in place, as the producer is.

    Raises
    ------
    BadInput
        Shapes that do not fit, factors that are not positive and finite; nothing is changed then.

    Notes
    -----
    Exact for powers of two; otherwise each changed number is rounded once.
    """
    import torch

    scale = torch.as_tensor(np.asarray(factors, dtype=np.float64))
    if not bool((scale > 0).all()) or not bool(torch.isfinite(scale).all()):
        raise BadInput("factors must be positive and finite")
    widths = [producer.weight.shape[0], *(layer.in_features for layer in consumers)]
    if scale.ndim != 1 or any(width != len(scale) for width in widths):
        raise BadInput(f"{tuple(scale.shape)} factors for channels {widths}: expected one for each channel")
    with torch.no_grad():
        for layer in consumers:
            layer.weight.copy_(layer.weight.double() * scale)
        bias = getattr(producer, "bias", None)
        for tensor in (producer.weight, *(() if bias is None else (bias,))):
            column = scale.reshape(-1, *(1,) * (tensor.ndim - 1))
            tensor.copy_(tensor.double() / column)
