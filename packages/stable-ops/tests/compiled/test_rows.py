"""The compiled rows give the results of the plain ones: adversarial rows, layouts, formats."""

import ml_dtypes
import numpy as np
import pytest

import stable_ops

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
CALLS = {
    "softmax": lambda x, w, b: stable_ops.softmax(x),
    "log_softmax": lambda x, w, b: stable_ops.log_softmax(x),
    "logsumexp": lambda x, w, b: stable_ops.logsumexp(x),
    "rms_norm": lambda x, w, b: stable_ops.rms_norm(x, w),
    "rms_norm without eps": lambda x, w, b: stable_ops.rms_norm(x, eps=0.0),
    "hf": lambda x, w, b: stable_ops.rms_norm(x, w, form="hf"),
    "gemma": lambda x, w, b: stable_ops.rms_norm(x, w, form="gemma"),
    "layer_norm": lambda x, w, b: stable_ops.layer_norm(x, w, b),
    "layer_norm without eps": lambda x, w, b: stable_ops.layer_norm(x, eps=0.0),
}


@pytest.fixture(autouse=True)
def plain_again():
    yield
    stable_ops.accelerate(False)


def rows(length, seed=0):
    """Shifted, cancelling, masked, equal, vanishing, huge and undefined rows."""
    x = np.random.default_rng(seed).standard_normal((24, length))
    x[1] *= 100
    x[2] += 1000
    x[3], x[4] = 7, 0
    x[5, 0], x[6, -1], x[7, 0], x[8] = np.inf, np.nan, -np.inf, -np.inf
    x[9] *= 1e-30
    x[10] *= 1e30
    x[11, 0] = 200
    x[12] = np.sign(x[12])
    x[13] *= 1e-5
    x[14] -= np.log(length) + 0.5
    x[15, ::2] = -np.inf
    return x.astype(np.float32)


def both(call, operands):
    """Without and with compiled loops, as numpy arrays that hold the values."""
    found = []
    for on in (False, True):
        stable_ops.accelerate(on)
        with np.errstate(all="ignore"):
            y = call(*operands)
        found.append(y)
    plain, fast = found
    assert type(plain) is type(fast)
    assert plain.dtype == fast.dtype
    return [np.asarray(y.float() if torch.is_tensor(y) else y) for y in found]


def assert_same(plain, fast):
    assert plain.shape == fast.shape
    differ = (plain != fast) & ~(np.isnan(plain) & np.isnan(fast))
    assert not differ.any(), (np.argwhere(differ)[:5], plain[differ][:5], fast[differ][:5])


@pytest.mark.parametrize("name", CALLS)
def test_numpy_arrays(name):
    for length in (1, 5, 1000, 4097):
        w, b = np.random.default_rng(1).standard_normal((2, length)).astype(np.float32)
        assert_same(*both(CALLS[name], (rows(length), w, b)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_short_arrays(dtype):
    dtype = np.dtype(getattr(ml_dtypes, dtype, np.float16))
    for name in ("softmax", "layer_norm", "hf"):
        w, b = np.random.default_rng(1).standard_normal((2, 1000)).astype(dtype)
        with np.errstate(over="ignore"):
            found = both(CALLS[name], (rows(1000).astype(dtype), w, b))
        assert_same(*(y.astype(np.float32) for y in found))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_logsumexp_of_many_short_rows(dtype):
    """Some of them so near to a tie that float32 arithmetic does not settle them."""
    g = torch.Generator().manual_seed(3)
    x = torch.randn(20_000, 40, generator=g) * torch.linspace(0.1, 20, 20_000)[:, None]
    assert_same(
        *both(CALLS["logsumexp"], ((x + torch.randn(20_000, 1, generator=g)).to(DTYPES[dtype]), 0, 0))
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CALLS)
def test_tensors(name, dtype):
    for length in (3, 1000):
        w, b = torch.randn(2, length, generator=torch.Generator().manual_seed(1))
        given = (torch.from_numpy(rows(length)), w, b)
        assert_same(*both(CALLS[name], [v.to(DTYPES[dtype]) for v in given]))


def test_layouts():
    x = rows(96)
    frozen = x.copy()
    frozen.flags.writeable = False
    moved = torch.from_numpy(x)
    for call in (stable_ops.softmax, stable_ops.logsumexp, stable_ops.layer_norm):
        for given in (frozen, x[:, ::-1], x[::2, 1::3], x.reshape(4, 6, 96), x[0], moved[:, ::2]):
            assert_same(*both(call, (given,)))
        for given in (x.T, moved.t(), np.asfortranarray(x).T):
            assert_same(*both(lambda t, call=call: call(t, axis=0), (given,)))


def test_what_does_not_fit_goes_the_plain_way():
    for given in (rows(8).astype(np.float64), np.zeros((3, 0), np.float32), np.zeros((0, 3), np.float32)):
        assert_same(*both(stable_ops.softmax, (given,)))


def test_results_are_rounded_once():
    """Against float64: rows long enough that a float32 sum would show."""
    x = np.random.default_rng(2).standard_normal((4, 100_003)).astype(np.float32)
    stable_ops.accelerate()
    y = stable_ops.softmax(x)
    exact = stable_ops.softmax(x.astype(np.float64))
    assert np.abs(y - exact).max() <= np.spacing(y.max()) / 2
    assert (np.abs(y - exact) <= 0.5001 * np.spacing(y)).all()
