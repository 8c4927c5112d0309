"""Run by test_triton.py with TRITON_INTERPRET=1: each kernel on CPU tensors against the float64 form."""

import warnings

import numpy as np
import torch
import triton
import triton.language as tl

import stable_ops
from stable_ops.ops.activations import _silu_float64
from stable_ops.ops.triton import activations, norms
from stable_ops.ops.triton.arithmetic import log1p
from stable_ops.ops.triton.tiers import LIMIT_ULP, tier
from stable_ops.testing import error_ulp

warnings.simplefilter("ignore")  # NaN and infinity are meant here, and numpy warns of them
generator = torch.Generator().manual_seed(0)
INF, NAN = float("inf"), float("nan")


def draw(*shape, dtype, scale=1.0):
    return (torch.randn(shape, generator=generator) * scale).to(dtype)


def judge(op, y, exact, reference):
    """At most the tier's error, NaN and infinities where they belong."""
    assert y.dtype == reference.dtype, op
    assert y.shape == reference.shape, op
    floor = 1.0 if op == "layer_norm" and y.dtype == torch.float32 else 0.0
    worst = float(error_ulp(y, exact.numpy(), floor=floor).max())
    limit = LIMIT_ULP[tier(op, str(y.dtype).removeprefix("torch."))]
    assert worst <= limit + 2.0**-20, f"{op} {tuple(y.shape)} {y.dtype}: {worst} ulp"
    return 1


@triton.jit
def logarithm(s_ptr, y_ptr, BLOCK: tl.constexpr):
    place = tl.arange(0, BLOCK)
    tl.store(y_ptr + place, log1p(tl.load(s_ptr + place)))


def arithmetic():
    """log1p down to 2^-1000."""
    rng = np.random.default_rng(0)
    s = 2.0 ** rng.uniform(-1000, 20, 1024)
    s[:512] = 2.0 ** rng.uniform(-60, 3, 512)
    y = torch.empty(1024, dtype=torch.float64)
    logarithm[(1,)](torch.from_numpy(s), y, BLOCK=1024)
    assert np.abs(y.numpy() / np.log1p(s) - 1).max() < 2.0**-51
    return 1


def specials():
    """Subnormal numbers whose half is a tie."""
    tiny = torch.arange(-99, 100, dtype=torch.float32) * 2.0**-149
    assert torch.equal(activations.silu(tiny, stable_ops.silu), stable_ops.silu(tiny))
    return 2


def main():
    cases = arithmetic() + specials()
    for dtype in (torch.float16, torch.float32):
        for count, length in ((9, 1), (7, 5), (9, 129), (6, 1000), (6, 8200)):
            w, b = 1 + draw(length, dtype=dtype, scale=0.5), draw(length, dtype=dtype)
            x = 3 + draw(count, length, dtype=dtype, scale=2.0)
            wide = (x.double(), w.double(), b.double())
            y = norms.layer_norm(x, w, b, eps=1e-5, axis=-1)
            cases += judge("layer_norm", y, stable_ops.layer_norm(*wide), x)
            y = norms.rms_norm(x, w, eps=1e-6, form="exact", axis=-1)
            cases += judge("rms_norm", y, stable_ops.rms_norm(*wide[:2]), x)
            y = norms.rms_norm(x, w, eps=1e-6, form="hf", axis=-1)
            assert torch.equal(y, stable_ops.rms_norm(x, w, form="hf"))
            y = norms.rms_norm(x, w, eps=1e-6, form="gemma", axis=-1, offset=1.0)
            assert torch.equal(y, stable_ops.rms_norm(x, w, form="gemma"))
        gate = torch.cat(
            [draw(3000, dtype=dtype, scale=4.0), torch.tensor([INF, -INF, NAN, 0.0], dtype=dtype)]
        )
        gate = torch.cat([gate, draw(50, dtype=dtype, scale=2.0**-15), draw(50, dtype=dtype, scale=30.0)])
        up = draw(len(gate), dtype=dtype)
        y = activations.silu(gate, stable_ops.silu)
        cases += judge("silu", y, stable_ops.silu(gate.double()), gate)
        y = activations.swiglu(gate, up, _silu_float64)
        assert torch.equal(y.nan_to_num(7.0), stable_ops.swiglu(gate, up).nan_to_num(7.0))
        y = activations.gelu(gate, lambda t: stable_ops.gelu(t, approximate="tanh"), approximate="tanh")
        assert torch.equal(y.nan_to_num(7.0), stable_ops.gelu(gate, approximate="tanh").nan_to_num(7.0))
        cases += 2
    print(f"{cases} cases passed")


main()
