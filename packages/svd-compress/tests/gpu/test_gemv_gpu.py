"""The kernel on a GPU against float64, in both forms, many times over: a race would move the result."""

import pytest
import torch

pytest.importorskip("triton")
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

SHAPES = [(4096, 4096, 1024), (4096, 14336, 1536), (333, 777, 100), (7168, 2048, 2000), (64, 64, 63)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_it_is_the_product(shape, overlap, dtype):
    from svd_compress.kernels.gemv import LowRankGemv
    from svd_compress.pivoting import pivot, rest

    m, n, r = shape
    rng = torch.Generator("cuda").manual_seed(m + n + r)
    left = torch.randn(m, r, generator=rng, device="cuda").to(dtype)
    right = (torch.randn(r, n, generator=rng, device="cuda") * 0.02).to(dtype)
    compact = pivot(left, right)
    calls = {
        "two": (left, right, {}),
        "pivoted": (
            compact.left.to(dtype).contiguous(),
            compact.right.to(dtype).contiguous(),
            {"pivots": compact.pivots.int(), "rest": rest(compact.pivots, m).int()},
        ),
    }
    # Outputs are rounded to the dtype; sums are float32.
    slack = {torch.bfloat16: 4e-3, torch.float16: 6e-4, torch.float32: 1e-5}[dtype]
    for form, (a, b, where) in calls.items():
        call = LowRankGemv(a, b, overlap=overlap, **where)
        for trial in range(20):
            x = torch.randn(n, generator=rng, device="cuda").to(dtype)
            y = call(x, torch.full((m,), torch.nan, device="cuda", dtype=dtype))
            inner = b.double() @ x.double()
            if form == "two":
                expected = a.double() @ inner
            else:
                expected = torch.empty(m, dtype=torch.float64, device="cuda")
                expected[where["pivots"].long()] = inner
                expected[where["rest"].long()] = a.double() @ inner
            error = (y.double() - expected).norm() / expected.norm()
            assert error < slack, (form, trial)


@pytest.mark.parametrize("layout", ["two", "pivoted"])
def test_a_fused_layer_is_no_further_from_its_product_than_before(layout):
    from svd_compress.factored import FactoredLinear, PivotedLinear
    from svd_compress.fusing import fuse
    from svd_compress.pivoting import pivot

    rng = torch.Generator("cuda").manual_seed(1)
    left, right = (
        torch.randn(s, generator=rng, device="cuda").bfloat16() for s in [(2048, 512), (512, 2048)]
    )
    layer = FactoredLinear(left, right * 0.02)
    exact = FactoredLinear(layer.left.double(), layer.right.double())
    if layout == "pivoted":
        compact = pivot(left, right * 0.02)
        layer = PivotedLinear(compact.left.bfloat16(), compact.right.bfloat16(), compact.pivots)
        exact = PivotedLinear(layer.left.double(), layer.right.double(), compact.pivots)
    x = torch.randn(1, 1, 2048, generator=rng, device="cuda").bfloat16()
    expected, before = exact(x.double()), layer(x).double()
    (row,) = fuse(layer, rounds=6)
    assert (layer.one_token is not None) == (row.kernel == "fused")
    # The kernel's inner values are float32, those of two calls bfloat16.
    assert (layer(x).double() - expected).norm() <= 1.05 * (before - expected).norm()
    assert (before - expected).norm() < 0.02 * expected.norm()
