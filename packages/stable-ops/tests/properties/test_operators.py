"""What every operator has to fulfil: in numpy, compiled loops, torch, the interpreted kernels, on a GPU.

Hypothesis draws a seed, a generator, a shape class, a dtype and a layout, never the elements. Run on a GPU by
scripts/gpu_tests.sh, under the interpreter by test_interpreted.py.
"""

import os

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from stable_ops.ops.triton.tiers import LIMIT_ULP, tier
from stable_ops.testing import error_ulp
from stable_ops.testing.inputs import KINDS, MASKED_KINDS, WIDE_KINDS, draw
from stable_ops.testing.oracles import ORACLES, ours
from stable_ops.testing.rounded import correctly_rounded
from stable_ops.testing.strategies import Drawn, numpy_dtype

DTYPES = ("float16", "bfloat16", "float32")
SUMS = ("softmax", "log_softmax", "logsumexp")
LAYOUTS = ("contiguous", "reversed", "strided", "transposed", "repeated")
# Shape classes: none, one, odd, a power of two and its neighbours, many rows, past a block.
SHAPES = ((3, 0), (4, 1), (5, 7), (3, 64), (9, 127), (6, 129), (300, 16), (4, 1000), (2, 1024), (2, 4097))
LONG = (65_537, 262_144, 1_048_576)
# A GPU compiles a kernel for each block size, so it gets fewer shapes, and more of the rest.
GPU_SHAPES = ((3, 0), (4, 1), (5, 7), (9, 129), (300, 129), (4, 1000), (2, 4097))
FEWER = settings(
    max_examples={"gpu": 60, "nightly": 600, "wheel": 4}.get(os.environ.get("HYPOTHESIS_PROFILE", ""), 8),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a seed has no smaller one to shrink to
)


@st.composite
def cases(draw_from, backend, op):
    dtype = draw_from(st.sampled_from(DTYPES))
    kinds = [*KINDS, *(MASKED_KINDS if op in SUMS else ("nan",)), *(WIDE_KINDS if dtype != "float16" else ())]
    return draw_from(
        st.builds(
            Drawn,
            seed=st.integers(0, 2**32 - 1),
            kind=st.sampled_from(kinds),
            shape=st.sampled_from(GPU_SHAPES if backend.name == "cuda" else SHAPES),
            dtype=st.just(dtype),
            layout=st.sampled_from(LAYOUTS),
        )
    )


def arguments(op, case):
    """The operands of the operator, contiguous; if the layout is "repeated", with one row many times."""
    dtype, made = numpy_dtype(case.dtype), []
    for place, name in enumerate(ORACLES[op].arguments):
        if name == "x":
            x = draw(case.kind, case.seed, case.shape) if case.shape[1] else np.zeros(case.shape)
            made.append(np.repeat(x[:1], len(x), axis=0) if case.layout == "repeated" else x)
        else:
            rng = np.random.default_rng([case.seed, place])
            shape = case.shape if name == "up" else case.shape[1:]
            x = rng.standard_normal(shape) + (name == "weight")
            made.append(np.repeat(x[:1], len(x), axis=0) if (name, case.layout) == ("up", "repeated") else x)
    with np.errstate(over="ignore"):
        return [x.astype(dtype) for x in made]


def label(op, dtype):
    return tier(ORACLES[op].operator or op, dtype)


def judge(op, y, operands, *, exact=True):
    """Correctly rounded where the tier says so, within its limit elsewhere."""
    dtype = operands[0].dtype
    right = correctly_rounded(op, *operands)
    assert y.dtype == dtype
    assert y.shape == right.values.shape
    promise = label(op, dtype.name) if exact else "T2"
    if promise == "T1" and dtype.itemsize == 2:
        wrong = right.wrong(y)
        assert not wrong.any(), (
            f"{int(wrong.sum())} misrounded: {y[wrong][:3]}, not {right.values[wrong][:3]}"
        )
        return
    floor = 1.0 if dtype == np.float32 and (ORACLES[op].floor or op == "logsumexp") else 0.0
    errors = error_ulp(y, right.truth, floor=floor)
    # Beside a tie either neighbour is half an ulp off: balls say which is right, longdouble may not.
    errors = np.where(right.wrong(y), errors, np.minimum(errors, 0.5))
    assert errors.max(initial=0.0) <= LIMIT_ULP[promise] + 2.0**-18


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b, equal_nan=True)


@pytest.mark.parametrize("op", ORACLES)
@FEWER
@given(st.data())
def test_value_in_any_layout(backend, op, data):
    case = data.draw(cases(backend, op))
    if not backend.takes_on(op, case.dtype):
        return
    operands = arguments(op, case)
    y = backend(op, *operands, layout=case.layout)
    if case.shape[1] == 0:
        assert same(y, np.full(3, -np.inf, y.dtype) if op == "logsumexp" else operands[0])
        return
    judge(op, y, operands, exact=backend.exact)
    # A unique answer: where it is correctly rounded, it is the one of numpy.
    if backend.exact and label(op, case.dtype) == "T1" and case.dtype != "float32":
        assert same(y, np.asarray(ours(op)(*operands)))


@pytest.mark.parametrize("op", ORACLES)
@FEWER
@given(st.data())
def test_bits_of_a_row_are_its_own(backend, op, data):
    """Neither the batch, nor the place in it, nor layout, axis or repetition changes a bit."""
    case = data.draw(cases(backend, op))
    if not backend.takes_on(op, case.dtype):
        return
    operands = arguments(op, case)
    y = backend(op, *operands)
    assert same(backend(op, *operands, layout=case.layout), y)
    m = len(operands[0])
    order = np.random.default_rng(case.seed).permutation(m)
    for rows in (slice(0, 1), slice(m // 2, m), order, np.r_[order, order, order]):
        assert same(backend(op, *(a[rows] if a.ndim == 2 else a for a in operands)), y[rows])
    if op not in ("gelu", "gelu_tanh", "silu", "swiglu"):
        turned = backend(op, np.ascontiguousarray(operands[0].T), *operands[1:], axis=0)
        assert same(turned if y.ndim == 1 else turned.T, y)
    assert same(backend(op, *operands), y)


@pytest.mark.parametrize("op", [op for op in ORACLES if op != "layer_norm"])
@FEWER
@given(st.data())
def test_the_order_of_elements_changes_no_bit(backend, op, data):
    """A sum that is rounded once, at the end, has no order."""
    case = data.draw(cases(backend, op))
    if not backend.exact or label(op, case.dtype) != "T1" or case.dtype == "float32":
        return
    backend.takes_on(op, case.dtype)
    operands = arguments(op, case)
    order = np.random.default_rng(case.seed).permutation(case.shape[1])
    y = backend(op, *operands)
    assert same(backend(op, *(a[..., order] for a in operands)), y if y.ndim == 1 else y[:, order])


@pytest.mark.parametrize("length", LONG)
@pytest.mark.parametrize("dtype", DTYPES[:2])
@pytest.mark.parametrize("op", [op for op in ORACLES if op not in ("gelu", "gelu_tanh", "silu", "swiglu")])
def test_long_rows(backend, op, dtype, length):
    if length > backend.longest:
        pytest.skip("the interpreter would take minutes")
    if backend.name != "cuda" and (length == 1_048_576) != (dtype == "float16"):
        pytest.skip("three of the six on a CPU")
    backend.takes_on(op, dtype)
    kinds = ("shifted", "dominant", "cancelling")
    kind = kinds[(LONG.index(length) + len(op)) % len(kinds)]
    operands = arguments(
        op, Drawn(seed=length, kind=kind, shape=(1, length), dtype=dtype, layout="contiguous")
    )
    y = backend(op, *operands)
    judge(op, y, operands)
    assert same(
        backend(op, *(np.concatenate([a] * 3) if a.ndim == 2 else a for a in operands)),
        np.concatenate([y] * 3),
    )
