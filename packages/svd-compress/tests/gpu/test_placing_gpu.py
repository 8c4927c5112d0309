"""The outputs of a pivoted layer put in order: the bits of torch, and gradients where they are wanted."""

import pytest
import torch

pytest.importorskip("triton")
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize(("shape", "m", "r"), [((3, 5), 333, 100), ((1,), 64, 63), ((2048,), 4096, 1024)])
def test_it_is_what_torch_puts_together(shape, m, r, dtype):
    from svd_compress.kernels.placing import together

    rng = torch.Generator("cuda").manual_seed(m)
    chosen, others = (torch.randn(*shape, n, generator=rng, device="cuda").to(dtype) for n in (r, m - r))
    place = torch.randperm(m, generator=rng, device="cuda")
    expected = torch.cat([chosen, others], dim=-1).index_select(-1, place)
    assert torch.equal(together(chosen, others, place), expected)


def test_a_layer_that_is_trained_gets_its_gradients():
    from svd_compress.factored import PivotedLinear

    rng = torch.Generator("cuda").manual_seed(0)
    left, right, x = (torch.randn(s, generator=rng, device="cuda") for s in [(40, 24), (24, 48), (7, 48)])
    layer = PivotedLinear(left, right, torch.arange(3, 27, device="cuda"))
    silent = layer(x)
    layer.left.requires_grad_(True)
    trained = layer(x)
    torch.testing.assert_close(trained.detach(), silent)
    trained.square().sum().backward()
    assert layer.left.grad is not None
    assert float(layer.left.grad.norm()) > 0
