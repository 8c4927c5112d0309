"""Singular values of a matrix with independent noise added, from the clean ones alone: free probability."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
DEPTH, WIDTH = 20.0, 23  # natural logarithms scanned below the top of the spectrum, and points of the scan
HALVINGS = 18
BETWEEN = 200  # evenly spaced points in addition to the values themselves
ATOMS = 1024  # a longer spectrum is thinned to this many values


def noisy_squares(squares: Array, variance: float, m: int, n: int) -> Array:
    r"""Expected squared singular values of W + N.

    Parameters
    ----------
    squares
        Eigenvalues of :math:`W W^T`, largest first (m,), m <= n.
    variance
        Of each entry of the m x n noise N: independent entries of mean 0.
    m, n
        Shape of W.

    Returns
    -------
    array (m,), float64
        Largest first: the quantiles :math:`1 - (i - 1/2)/m` of the limiting distribution.

    Notes
    -----
    With :math:`c = m/n`, :math:`s = n t^2` and f the Stieltjes transform of the clean spectrum, the noisy one
    at z is :math:`(1 + a)\, f(w)` for

    .. math:: z = w b^2 + s (1 - c)\, b, \qquad b = 1 - s c f(w) = 1/(1 + a)

    (information plus noise; Dozier and Silverstein, J. Multivariate Analysis 2007). For each real part of w
    the imaginary part that makes z real is found by bisection; z runs over the spectrum with it. Its
    distribution function is the imaginary part of the integral of the transform, which has a closed form,

    .. math:: -\pi F = \operatorname{Im}\Bigl[\tfrac1m \sum_k \log(\lambda_k - w) + \frac{z a^2}{s c}
              - \frac{1-c}{c} (a - \log(1 + a))\Bigr].

    Cost O(m^2), at most O(1024 m). Exact in the limit of large matrices; at 128 x 256 within a few percent of
    the shift.
    """
    if variance <= 0 or not squares[0] > 0:
        return squares
    scale = float(squares[0])
    atoms = np.maximum(squares[:: -(-len(squares) // ATOMS)] / scale, 0.0)
    c, s = m / n, variance * n / scale
    # The image of an atom covers a part of the noisy spectrum: points between and around them as well.
    reach = 2 * np.sqrt(s) * (1 + np.sqrt(c))
    real = np.unique(np.concatenate([atoms, np.linspace(max(atoms[-1] - reach, -s), 1 + reach, BETWEEN)]))
    w = real + 1j * np.exp(_depths(atoms, real, c, s))
    z, f = _image(atoms, w, c, s)
    a = s * c * f / (1 - s * c * f)
    # Of the logarithm only the imaginary part counts: the angle.
    angles = np.arctan2(-w.imag[:, None], atoms[None, :] - w.real[:, None]).mean(1)
    rest = z.real * a**2 / (s * c) - (1 - c) / c * (a - np.log(1 + a))
    below = np.maximum.accumulate(-(angles + rest.imag) / np.pi)
    place = 1 - (np.arange(m) + 0.5) / m
    found: Array = np.interp(place, below, np.maximum.accumulate(z.real)) * scale
    return np.maximum(found, 0.0)


def _image(atoms: Array, w: Array, c: float, s: float) -> tuple[Array, Array]:
    """z of w, and the Stieltjes transform of the clean spectrum at w."""
    return _mapped(w, (1 / (atoms[None, :] - w[:, None])).mean(1), c, s)


def _mapped(w: Array, f: Array, c: float, s: float) -> tuple[Array, Array]:
    b = 1 - s * c * f
    return w * b**2 + s * (1 - c) * b, f


def _depths(atoms: Array, real: Array, c: float, s: float) -> Array:
    """Logarithm of the largest imaginary part at which z is real, for each real part."""
    distance = atoms[None, :] - real[:, None]
    squared, inverse = distance**2, np.empty_like(distance)

    def height(depth: Array | float) -> Array:
        """Imaginary part of z: in real arithmetic and without new arrays, this is most of the time."""
        y = np.broadcast_to(np.exp(depth), real.shape)
        np.divide(1.0, np.add(squared, y[:, None] ** 2, out=inverse), out=inverse)
        f = (np.einsum("ij,ij->i", distance, inverse) + 1j * y * inverse.sum(1)) / len(atoms)
        found: Array = _mapped(real + 1j * y, f, c, s)[0].imag
        return found

    top = float(np.log(1 + 4 * s))
    grid = np.linspace(top + 2, top - DEPTH, WIDTH)
    high, low = np.full(len(real), grid[0]), np.full(len(real), grid[-1])
    found = np.zeros(len(real), bool)
    for depth in grid[1:]:
        negative = (height(depth) <= 0) & ~found
        low[negative] = depth
        found |= negative
        high[~found] = depth
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        above = height(middle) > 0
        high, low = np.where(above, middle, high), np.where(above, low, middle)
    return high
