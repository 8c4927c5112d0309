"""Compiled silu, swiglu and gelu give the bits of the plain ones: every exponent, specials."""

import numpy as np
import pytest

import stable_ops

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

SPECIAL = [
    0.0,
    -0.0,
    np.inf,
    -np.inf,
    np.nan,
    -np.nan,
    1.0,
    -1.0,
    -88.7,
    -103.9,
    -104.0,
    -700.0,
    -745.2,
    -1e30,
]
CALLS = {
    "silu": lambda x, up: stable_ops.silu(x),
    "gelu": lambda x, up: stable_ops.gelu(x),
    "gelu tanh": lambda x, up: stable_ops.gelu(x, approximate="tanh"),
    "swiglu": lambda x, up: stable_ops.swiglu(x, up),
}


@pytest.fixture(autouse=True)
def plain_again():
    yield
    stable_ops.accelerate(False)


def numbers(dtype):
    """Of every exponent, ordinary ones, and each special value beside each."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 100_000, dtype=np.uint32).view(np.float32)
    ordinary = (4 * rng.standard_normal(100_000)).astype(np.float32)
    first, second = (side.ravel() for side in np.meshgrid(*2 * [np.float32(SPECIAL)]))
    x = np.concatenate([bits, ordinary, first])
    up = np.concatenate([ordinary, bits[::-1], second])
    return [torch.from_numpy(v).to(dtype) for v in (x, up)]


def both(call, operands):
    found = []
    for on in (False, True):
        stable_ops.accelerate(on)
        with np.errstate(all="ignore"):
            found.append(call(*operands))
    plain, fast = found
    assert type(plain) is type(fast)
    assert (plain.dtype, plain.shape) == (fast.dtype, fast.shape)
    return [np.asarray(y.float() if torch.is_tensor(y) else y, np.float32) for y in found]


def assert_same(plain, fast):
    assert np.array_equal(np.isnan(plain), np.isnan(fast))
    there = ~np.isnan(plain)
    assert np.array_equal(plain[there].view(np.uint32), fast[there].view(np.uint32))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", CALLS)
def test_bits_of_the_plain_form(name, dtype):
    operands = numbers(dtype)
    assert_same(*both(CALLS[name], operands))
    if dtype != torch.bfloat16:
        assert_same(*both(CALLS[name], [x.numpy() for x in operands]))


def test_layouts_and_what_does_not_fit():
    x, up = (v.numpy()[:96].reshape(8, 12) for v in numbers(torch.float32))
    frozen = x.copy()
    frozen.flags.writeable = False
    for gate, other in ((x[::-1], up), (x.T, up.T), (frozen, up), (x[:0], up[:0]), (x.astype(float), up)):
        assert_same(*both(CALLS["swiglu"], (gate, other)))
        assert_same(*both(CALLS["silu"], (gate, None)))
