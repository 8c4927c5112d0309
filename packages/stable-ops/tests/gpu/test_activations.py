"""gelu, silu and swiglu on a GPU: every 16-bit number, the bits of the CPU form, any number of elements."""

import numpy as np
import pytest

import stable_ops
from stable_ops.testing import misrounded
from stable_ops.testing.oracles import truth

torch = pytest.importorskip("torch")
pytest.importorskip("triton")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

DTYPES = (torch.float16, torch.bfloat16, torch.float32)
UNARY = {
    "gelu": stable_ops.gelu,
    "gelu tanh": lambda x: stable_ops.gelu(x, approximate="tanh"),
    "silu": stable_ops.silu,
}


def same(a, b):
    """The same bits, any NaN being as good as another."""
    return a.dtype == b.dtype and a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all())


def every(dtype):
    return torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(dtype)


@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
@pytest.mark.parametrize("op", UNARY)
def test_every_16_bit_input(op, dtype):
    x = every(dtype)
    y = UNARY[op](x.cuda()).cpu()
    assert same(y, UNARY[op](x))
    if op != "gelu tanh":
        assert not misrounded(y, truth(op, x.float().numpy()).astype(np.float64)).any()


@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
def test_every_16_bit_gate(dtype):
    gate = every(dtype).repeat(8)
    up = torch.randn(gate.shape, generator=torch.Generator().manual_seed(5)).to(dtype)
    assert same(stable_ops.swiglu(gate.cuda(), up.cuda()).cpu(), stable_ops.swiglu(gate, up))


@pytest.mark.parametrize("op", UNARY)
def test_float32(op):
    x = torch.randn(2**20, generator=torch.Generator().manual_seed(6)) * 4
    # A float64 computation may fall on the other side of a tie about once in 10^8.
    assert (UNARY[op](x.cuda()).cpu() != UNARY[op](x)).sum() <= 1


@pytest.mark.parametrize("count", [1, 7, 16, 1000, 1024, 1025, 5000])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_any_number_of_elements(dtype, count):
    """The last block is read another way; nothing beyond the end is written."""
    x, up = torch.randn(2, count, generator=torch.Generator().manual_seed(7)).to(dtype).cuda()
    long, long_up = (torch.cat([v, v.flip(0)]) for v in (x, up))
    for function in UNARY.values():
        assert same(function(x), function(long)[:count])
    assert same(stable_ops.swiglu(x, up), stable_ops.swiglu(long, long_up)[:count])
    assert same(stable_ops.swiglu(x[1:], up[1:]), stable_ops.swiglu(x, up)[1:])


def test_gate_and_up_of_two_dtypes():
    gate = every(torch.bfloat16)
    up = torch.randn(gate.shape, generator=torch.Generator().manual_seed(8))
    y = stable_ops.swiglu(gate.cuda(), up.cuda()).cpu()
    assert same(y, stable_ops.swiglu(gate, up))
    assert not same(y, torch.nn.functional.silu(gate) * up.bfloat16())
