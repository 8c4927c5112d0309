"""What a 2x2 matrix does to the plane, taken apart: rotate, stretch, rotate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mfi_command import BadInput
from svd_compress.matrices import Float64, svd, to_float64

# Beyond it the axes of a drawing run out of digits.
LARGEST = 1e9
STAGES = ("rotate", "stretch", "rotate again")


@dataclass(frozen=True)
class Geometry:
    r"""A 2x2 matrix as rotation, stretch along the axes, rotation.

    Attributes
    ----------
    matrix
        The matrix A.
    first_angle, second_angle
        Radians: $A = R(\text{second}) \operatorname{diag}(\text{stretch}) R(\text{first})$.
    stretch
        (2,). The first is $\sigma_1$, the second $\sigma_2$, negative where A turns the plane
        over: a rotation cannot, so the reflection is part of the stretch.
    singular_values
        Half-axes of the ellipse that the unit circle becomes, descending, not negative.
    """

    matrix: Float64
    first_angle: float
    second_angle: float
    stretch: Float64
    singular_values: Float64

    @property
    def reflected(self) -> bool:
        """Whether the plane is turned over: the determinant is negative."""
        return bool(self.stretch[1] < 0 and np.linalg.det(self.matrix) < 0)


def rotation(angle: float) -> Float64:
    """The matrix that turns the plane by `angle` radians, counter-clockwise."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]])


def take_apart(A: NDArray[Any]) -> Geometry:
    """Rotation, stretch and rotation of a 2x2 matrix.

    Raises
    ------
    BadInput
        If `A` is not a finite 2x2 matrix with entries up to 1e9.
    """
    matrix = to_float64(A)
    if matrix.shape != (2, 2):
        raise BadInput(f"the matrix has shape {matrix.shape}; the animation draws the plane, (2, 2)")
    if np.abs(matrix).max() > LARGEST:
        raise BadInput(f"an entry is {np.abs(matrix).max():.3g}; scale the matrix to {LARGEST:g} at most")
    U, sigma, Vt = svd(matrix)
    stretch = sigma.copy()
    # A reflection in U or V is moved into the stretch; it changes a column of U or a row of V^T.
    if np.linalg.det(U) < 0:
        U[:, 1] *= -1
        stretch[1] *= -1
    if np.linalg.det(Vt) < 0:
        Vt[1] *= -1
        stretch[1] *= -1
    first, second = np.arctan2(Vt[1, 0], Vt[0, 0]), np.arctan2(U[1, 0], U[0, 0])
    # Half a turn of both changes nothing in the product: take the shorter way.
    if abs(first) > np.pi / 2:
        first -= np.copysign(np.pi, first)
        second -= np.copysign(np.pi, second)
    return Geometry(matrix, float(first), float(second), stretch, sigma)


def maps(geometry: Geometry, frames: int) -> list[tuple[str, Float64]]:
    """The linear map at each frame with the name of its stage, from the identity to the matrix.

    Parameters
    ----------
    geometry
        From `take_apart`.
    frames
        How many, 4 at least: the stages get a third each.
    """
    out = []
    for position in np.linspace(0.0, 3.0, frames):
        turned, stretched, turned_again = np.clip(position - np.arange(3), 0.0, 1.0)
        S = np.diag(1.0 + (geometry.stretch - 1.0) * stretched)
        first, second = (
            rotation(geometry.first_angle * turned),
            rotation(geometry.second_angle * turned_again),
        )
        # A stage lasts up to and including its last frame, which shows it complete.
        out.append((STAGES[max(0, min(2, int(np.ceil(position)) - 1))], second @ S @ first))
    return out
