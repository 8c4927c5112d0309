"""Rotate, stretch, rotate: the product is the matrix, the half-axes are the singular values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfi_command import BadInput
from svd_compress.geometry import maps, rotation, take_apart

KINDS = ["any", "reflection", "rank 1", "symmetric", "rotation", "zero"]


def plane_map(seed, kind):
    A = np.random.default_rng(seed).standard_normal((2, 2))
    if kind == "reflection":
        return A @ np.diag([1.0, -np.sign(np.linalg.det(A))])
    if kind == "rank 1":
        return np.outer(A[0], A[1])
    if kind == "symmetric":
        return A + A.T
    if kind == "rotation":
        return rotation(A[0, 0] * 3)
    return A * (kind != "zero")


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(KINDS))
def test_the_parts_multiply_to_the_matrix(seed, kind):
    A = plane_map(seed, kind)
    g = take_apart(A)
    product = rotation(g.second_angle) @ np.diag(g.stretch) @ rotation(g.first_angle)
    np.testing.assert_allclose(product, A, atol=1e-12)
    steps = maps(g, 31)
    np.testing.assert_array_equal(steps[0][1], np.eye(2))
    np.testing.assert_allclose(steps[-1][1], A, atol=1e-12)
    assert (g.stretch[1] < 0) == (np.linalg.det(A) < 0) or abs(np.linalg.det(A)) < 1e-12


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(KINDS))
def test_half_axes_of_the_ellipse_are_the_singular_values(seed, kind):
    A = plane_map(seed, kind)
    angles = np.linspace(0, np.pi, 20001)
    radii = np.linalg.norm(A @ np.stack([np.cos(angles), np.sin(angles)]), axis=0)
    sigma = take_apart(A).singular_values
    np.testing.assert_allclose(sigma, [radii.max(), radii.min()], atol=1e-3 * max(1e-9, radii.max()))


def test_stages_rotate_then_stretch_then_rotate():
    steps = maps(take_apart(np.array([[3.0, 1.0], [1.0, 2.0]])), 31)
    assert [stage for stage, _ in steps] == ["rotate"] * 11 + ["stretch"] * 10 + ["rotate again"] * 10
    for _, M in steps[:11]:
        np.testing.assert_allclose(M.T @ M, np.eye(2), atol=1e-12)
    sizes = [np.linalg.svd(M)[1] for _, M in steps[20:]]
    np.testing.assert_allclose(sizes, [sizes[0]] * 11, atol=1e-12)


@pytest.mark.parametrize("A", [np.eye(3), np.array([[np.nan, 0], [0, 1]]), np.full((2, 2), 1e10), np.ones(2)])
def test_bad_matrices(A):
    with pytest.raises(BadInput):
        take_apart(A)
