"""Tails and composition; every 16-bit input is in test_exhaustive."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfi_command import BadInput
from stable_ops import gelu, silu, swiglu
from stable_ops.fp import round_to, ulp
from stable_ops.testing import assert_ulp
from stable_ops.testing.oracles import truth
from stable_ops.testing.strategies import rows


@given(rows(dtypes=["float16", "float32"]), st.integers(0, 100))
def test_correctly_rounded_in_any_layout(drawn, seed):
    x = drawn.array
    up = np.random.default_rng(seed).standard_normal(x.shape).astype(x.dtype)
    assert_ulp(gelu(x), truth("gelu", x))
    assert_ulp(silu(x), truth("silu", x))
    assert_ulp(swiglu(x, up), truth("swiglu", x, up))


def test_float32_tail_against_mpmath():
    mpmath = pytest.importorskip("mpmath")
    x = -np.linspace(0.1, 14.3, 300).astype(np.float32)
    with mpmath.workdps(50):
        expected = [float(mpmath.mpf(float(v)) * mpmath.ncdf(float(v))) for v in x]
    assert_ulp(gelu(x), expected)
    assert (gelu(x) < 0).all()  # 1 + erf answers 0 from -5.5 on


def test_float64_within_a_few_ulp_of_mpmath():
    mpmath = pytest.importorskip("mpmath")
    x = np.concatenate([-np.linspace(0.01, 37, 200), np.linspace(0.01, 9, 50)])
    with mpmath.workdps(50):
        expected = np.array([mpmath.mpf(v) * mpmath.ncdf(v) for v in x])
        got = np.array([mpmath.mpf(float(v)) for v in gelu(x)])
        relative = float(np.max(np.abs((got - expected) / expected)))
    assert relative < 8 * 2.0**-53


def test_swiglu_is_not_silu_times_up():
    rng = np.random.default_rng(0)
    gate, up = (rng.standard_normal(10_000).astype(np.float16) for _ in range(2))
    assert (silu(gate) * up != swiglu(gate, up)).mean() > 0.1


def test_swiglu_on_the_ties_of_its_product():
    """gate * up is exactly between two numbers of float16; the truth is just inside of it."""
    gate, up = np.meshgrid(np.arange(40.0, 120.0), np.arange(65.0, 2048.0, 2.0))
    product = gate * up
    tie = np.abs(product - round_to(product, "fp16")) == ulp(product, "fp16") / 2
    gate, up = gate[tie].astype(np.float16), up[tie].astype(np.float16)
    assert gate.size > 1000
    inside = round_to(np.nextafter(product[tie], 0.0), "fp16")
    np.testing.assert_array_equal(swiglu(gate, up), inside)
    np.testing.assert_array_equal(swiglu(gate, -up), -inside)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_an_infinite_up_beside_a_gate_whose_silu_underflows(dtype):
    gate, up = (
        np.array([-60000.0, -60000.0, -np.inf, -800.0], dtype),
        np.array([np.inf, -np.inf, np.inf, 1.0], dtype),
    )
    expected = [-np.inf, np.inf, np.nan, 0.0]
    np.testing.assert_array_equal(swiglu(gate, up), np.array(expected, dtype))
    torch = pytest.importorskip("torch")
    got = swiglu(torch.from_numpy(gate), torch.from_numpy(up)).numpy()
    np.testing.assert_array_equal(got, np.array(expected, dtype))


def test_zero_dimensional_and_lists():
    assert gelu(np.float32(1.0)).dtype == np.float32
    assert silu([[1, 2]]).shape == (1, 2)
    assert gelu(np.zeros((0, 4))).shape == (0, 4)


def test_tensors():
    torch = pytest.importorskip("torch")
    x = torch.linspace(-8, 8, 101, dtype=torch.bfloat16)
    assert silu(x).dtype == torch.bfloat16
    reference = torch.nn.functional.silu(x.double())
    assert torch.equal(silu(x), reference.to(torch.bfloat16))
    assert torch.equal(swiglu(x, x), (reference * x.double()).to(torch.bfloat16))


def test_bad_input():
    with pytest.raises(BadInput, match="sigmoid"):
        gelu(np.zeros(2), approximate="sigmoid")
    with pytest.raises(BadInput, match="differ"):
        swiglu(np.zeros(2), np.zeros(3))
