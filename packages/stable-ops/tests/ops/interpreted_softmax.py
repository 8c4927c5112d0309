"""Run by test_triton_softmax.py with TRITON_INTERPRET=1: the softmax kernels on CPU tensors."""

import warnings

import numpy as np
import torch
import triton
import triton.language as tl

import stable_ops
from stable_ops.ops.triton import exchange, exponentials, softmax
from stable_ops.ops.triton.softmax_pairs import pairs_in_parts
from stable_ops.ops.triton.softmax_pieces import in_pieces
from stable_ops.ops.triton.softmax_teams import in_teams, sum_in_parts
from stable_ops.ops.triton.tiers import LIMIT_ULP, tier
from stable_ops.testing import error_ulp

warnings.simplefilter("ignore")  # NaN and infinity are meant here, and numpy warns of them
generator = torch.Generator().manual_seed(0)
INF, NAN = float("inf"), float("nan")
OPS = ("softmax", "log_softmax", "logsumexp")


def draw(count, length, dtype, scale):
    """Rows of which the first are special, and the last far from zero."""
    x = torch.randn((count, length), generator=generator) * scale
    x[-1] = torch.arange(length) % 7 * 8 + 6000.0
    x[-2] = -x[-1]
    specials = [
        (-INF, slice(1, None)),
        (-INF, slice(None)),
        (INF, slice(0, 1)),
        (NAN, slice(0, 1)),
        (0.0, slice(None)),
    ]
    for row, (value, columns) in enumerate(specials[: count - 3]):
        x[row, columns] = value
    return x.to(dtype)


def judge(op, x, y, what):
    exact = getattr(stable_ops, op)(x.double()).numpy()
    limit = LIMIT_ULP[tier(op, str(x.dtype).removeprefix("torch."))]
    worst = error_ulp(y, exact).reshape(len(x), -1).max(axis=1)
    assert worst.max() <= limit + 2.0**-20, f"{what} {op} {tuple(x.shape)} {x.dtype}: {worst} ulp"
    return 1


def rows():
    """Each operator as it is called: lone peaks, equal numbers, sums that cancel the peak."""
    cases = 0
    for dtype in (torch.float16, torch.float32):
        for count, length in ((9, 1), (7, 5), (9, 129), (8, 600)):
            for scale in (4.0, 0.01, 300.0) if length == 129 else (4.0,):
                x = draw(count, length, dtype, scale)
                for op in OPS:
                    cases += judge(op, x, getattr(softmax, op)(x), "whole")
            lone = torch.full((2, length), -12.0 if length > 5 else -25.0, dtype=dtype)
            lone[:, 0] = 3.0
            cases += judge("log_softmax", lone, softmax.log_softmax(lone), "lone")
            near = torch.randn((8, length), generator=generator)
            near = (near - near.logsumexp(-1, keepdim=True)).to(dtype)
            if dtype == torch.float16:  # a float32 result so small may lose ulps (see `logsumexp`)
                cases += judge("logsumexp", near, softmax.logsumexp(near), "cancelled")
    return cases


def kernels(x, number):
    """Those for longer rows: with one part to a row (the interpreter has no other program), and in pieces."""
    count, length = x.shape
    group, narrow = {"GROUP": 4}, x.dtype == torch.float16
    first, block, width, odd = {"OP": number}, {"BLOCK": 1024}, {"WIDTH": 1}, {"EVEN": False}

    def scratch():
        return exchange.scratch(2 * count, 1, "cpu")

    yield "pieces", lambda y: in_pieces[(count,)](x, y, length, **first, BLOCK=256)
    if number == OPS.index("logsumexp"):
        counters = torch.zeros(count, dtype=torch.int64)
        constants = {"WIDE": not narrow, **group, **block, **width, **odd, "PIECE": 256}
        yield "sum", lambda y: sum_in_parts[(count,)](x, y, scratch(), counters, 1, length, **constants)
    elif narrow:
        aligned = length % 2 == 0
        pairs = {**first, **group, **block, "PIECE": 128, "BF16": False, "ALIGNED": aligned}
        half = length // 2 if aligned else length

        def view(z):
            return z.view(torch.int32) if aligned else z

        yield (
            "parts",
            lambda y: pairs_in_parts[(count,)](view(x), view(y), scratch(), count, 1, half, **pairs, **width),
        )
    else:
        yield (
            "teams",
            lambda y: in_teams[(2,)](x, y, scratch(), count, 1, 2, length, **first, **block, **width, **odd),
        )


def other_kernels():
    cases = 0
    for dtype in (torch.float16, torch.float32):
        for length, scale in ((300, 300.0), (301, 4.0)):
            if dtype == torch.float32 and length % 2 == 0:
                continue
            x = draw(8, length, dtype, scale)
            # Peaks whose products with 1/ln 2 are rounded in all sorts of ways.
            x[4:] = 4096.0 + 8 * torch.randint(0, 3, (4, length), generator=generator)
            x[4:] += 32 * torch.randint(0, 500, (4, 1), generator=generator)
            for number, op in enumerate(OPS):
                for name, kernel in kernels(x, number):
                    y = torch.full((8,) if op == "logsumexp" else x.shape, 7.0, dtype=dtype)
                    kernel(y)
                    cases += judge(op, x, y, name)
    return cases


@triton.jit
def elementary(d_ptr, u_ptr, s_ptr, e_ptr, y_ptr, z_ptr, BLOCK: tl.constexpr):
    place = tl.arange(0, BLOCK)
    tl.store(e_ptr + place, exponentials.double_exp(tl.load(d_ptr + place)))
    tl.store(y_ptr + place, exponentials.quick_log(tl.load(u_ptr + place)))
    tl.store(z_ptr + place, exponentials.quick_log1p(tl.load(s_ptr + place)))


def arithmetic():
    """The bounds that the kernels build on, where they do not need a fused multiply-add."""
    rng = np.random.default_rng(0)
    d = rng.uniform(-107.9, 1.0, 2048)
    u = 1.0 + 2.0 ** rng.uniform(-20, 20, 2048)
    s = 2.0 ** rng.uniform(-150, 20, 2048)
    e, y, z = (torch.empty(2048, dtype=torch.float64) for _ in range(3))
    elementary[(1,)](*(torch.from_numpy(v) for v in (d, u, s)), e, y, z, BLOCK=2048)
    assert np.abs(e.numpy() / np.exp(d) - 1).max() < 2.0**-50
    assert np.abs(y.numpy() / np.log(u) - 1).max() < 2.0**-31
    assert np.abs(z.numpy() / np.log1p(s) - 1).max() < 2.0**-31
    return 3


def batches():
    """Bits that do not depend on the batch or the layout; an infinity beside NaN."""
    mixed = torch.tensor([[INF, NAN, 1.0], [INF, -INF, 1.0], [-INF, NAN, -INF]])
    assert softmax.logsumexp(mixed).isnan().tolist() == [True, False, True]
    x = draw(9, 60, torch.float16, 4.0)
    y = softmax.softmax(x)
    assert torch.equal(softmax.softmax(x[5:]), y[5:])
    assert torch.equal(softmax.softmax(x.t(), axis=0).t()[5:], y[5:])
    assert torch.equal(softmax.softmax(x[5:].reshape(2, 2, 60)).reshape(4, 60), y[5:])
    return 3


print(f"{rows() + other_kernels() + arithmetic() + batches()} cases passed")
