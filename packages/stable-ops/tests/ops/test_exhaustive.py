"""16-bit functions of one variable at every input, each settled by longer arithmetic or by a ball."""

import numpy as np
import pytest

from stable_ops.testing.exact import settle
from stable_ops.testing.oracles import ours
from stable_ops.testing.rounded import correctly_rounded
from stable_ops.testing.strategies import numpy_dtype

pytest.importorskip("flint")
pytest.importorskip("ml_dtypes")

OPS = ("gelu", "gelu_tanh", "silu")
DTYPES = ("float16", "bfloat16")


def every_number(dtype):
    return np.arange(2**16).astype(np.uint16).view(numpy_dtype(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", OPS)
def test_every_input(op, dtype):
    """65,536 inputs, infinities and NaN among them; what lies near a tie is settled by balls."""
    x = every_number(dtype)
    rounded = correctly_rounded(op, x)
    assert not rounded.open.any()
    assert int(rounded.wrong(ours(op)(x)).sum()) == 0
    torch = pytest.importorskip("torch")
    tensor = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(getattr(torch, dtype))
    assert int(rounded.wrong(ours(op)(tensor).double().numpy()).sum()) == 0


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", OPS)
def test_every_input_by_a_ball(op, dtype):
    x = every_number(dtype).astype(np.float64)
    x = x[np.isfinite(x) & (x != 0)]
    exact = settle(op, [x], np.arange(x.size)[:, None], dtype)
    np.testing.assert_array_equal(ours(op)(x.astype(numpy_dtype(dtype))).astype(float), exact)


@pytest.mark.parametrize("dtype", DTYPES)
def test_swiglu_of_a_few_gates_with_every_up(dtype):
    """All pairs are judged on a GPU (benchmarks/exhaustive.py); here those gates that ties come from."""
    up = every_number(dtype)
    for gate in (2.0**-20, -1.5, 40.0, 1000.0, -80.0, 3e4):
        gates = np.full(up.shape, gate).astype(up.dtype)
        rounded = correctly_rounded("swiglu", gates, up)
        assert not rounded.open.any()
        assert int(rounded.wrong(ours("swiglu")(gates, up)).sum()) == 0


def test_the_judge_sees_a_second_rounding():
    x = every_number("float16")
    with np.errstate(all="ignore"):
        wide = np.where(np.isneginf(x), 0.0, x.astype(float) / (1 + np.exp(-x.astype(float))))
    twice = wide.astype(np.float32).astype(np.float16)
    assert 0 < int(correctly_rounded("silu", x).wrong(twice).sum()) < 50


@pytest.mark.parametrize("op", OPS)
def test_limits(op):
    with np.errstate(invalid="raise"):
        got = ours(op)(np.array([-np.inf, np.inf, np.nan, -0.0, -1e30], dtype=np.float32))
    np.testing.assert_array_equal(got, np.array([0, np.inf, np.nan, 0, 0], dtype=np.float32))
    assert np.signbit(got[[0, 3, 4]]).all()
