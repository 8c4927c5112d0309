"""A product of factors without its redundant block is the same product."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from svd_compress.allocation import stored
from svd_compress.pivoting import Pivoted, pivot, rest, unpivot


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), m=st.integers(1, 40), n=st.integers(1, 40), data=st.data())
def test_the_product_is_kept_with_fewer_numbers(seed, m, n, data):
    r = data.draw(st.integers(1, min(m, n)))
    rng = torch.Generator().manual_seed(seed)
    left = torch.randn(m, r, generator=rng, dtype=torch.float64) * torch.logspace(
        0, -4, r, dtype=torch.float64
    )
    right = torch.randn(r, n, generator=rng, dtype=torch.float64)
    compact = pivot(left, right)
    W = left @ right
    torch.testing.assert_close(compact.dense(), W, atol=1e-9 * float(W.abs().max()), rtol=0)
    assert compact.left.numel() + compact.right.numel() == stored((m, n), r, "pivoted")
    first, second = unpivot(compact)
    torch.testing.assert_close(first @ second, W, atol=1e-9 * float(W.abs().max()), rtol=0)
    largest = float(first.norm(dim=0).max())
    torch.testing.assert_close(first.norm(dim=0), second.norm(dim=1), atol=1e-3 * largest, rtol=0)
    # The pivots' rows are the rows of the product themselves.
    torch.testing.assert_close(compact.right, W[compact.pivots], atol=1e-9 * float(W.abs().max()), rtol=0)


@pytest.mark.parametrize("r", [8, 100, 200])
def test_entries_stay_small_enough_for_16_bits(r):
    rng = torch.Generator().manual_seed(r)
    left = torch.randn(256, r, generator=rng) * torch.logspace(0, -6, r)
    compact = pivot(left, torch.randn(r, 64, generator=rng))
    assert compact.left.abs().max() < 100
    product = left.double() @ torch.randn(r, 64, generator=torch.Generator().manual_seed(0)).double()
    assert torch.isfinite(product).all()


def test_two_factors_of_zeros_are_finite():
    first, second = unpivot(Pivoted(torch.ones(3, 2), torch.zeros(2, 4), torch.tensor([0, 3])))
    assert torch.isfinite(first).all()
    assert not (first @ second).any()


def test_all_rows_may_be_pivots():
    left, right = torch.eye(3), torch.arange(6.0).reshape(3, 2)
    compact = pivot(left, right)
    assert compact.left.shape == (0, 3)
    torch.testing.assert_close(compact.dense(), right.double())
    assert rest(compact.pivots, 3).tolist() == []


def test_factors_without_full_rank_keep_their_product():
    left = torch.tensor([[1.0, 0, 1], [2, 0, 2], [-1, 0, 3], [4, 0, 0]])
    right = torch.arange(15.0).reshape(3, 5)
    torch.testing.assert_close(pivot(left, right).dense(), (left @ right).double())
