"""Arrays of any size and layout, in bounded memory, on any number of threads: the bits stay the same."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import stable_ops
from mfi_command import BadInput
from stable_ops import blocks
from stable_ops.fp.formats import get_format
from stable_ops.fp.rounding import round_bfloat16, round_float64
from stable_ops.testing.strategies import numpy_dtype

W = np.random.default_rng(9).standard_normal(1_048_576)

OPERATORS = {
    "softmax": stable_ops.softmax,
    "log_softmax": stable_ops.log_softmax,
    "logsumexp": stable_ops.logsumexp,
    "layer_norm": lambda x: stable_ops.layer_norm(x, W[: x.shape[-1]], W[: x.shape[-1]]),
    "rms_norm": lambda x: stable_ops.rms_norm(x, W[: x.shape[-1]]),
    "rms_norm hf": lambda x: stable_ops.rms_norm(x, W[: x.shape[-1]], form="hf"),
    "gelu": stable_ops.gelu,
    "gelu tanh": lambda x: stable_ops.gelu(x, approximate="tanh"),
    "silu": stable_ops.silu,
    "swiglu": lambda x: stable_ops.swiglu(x, x),
}
ROWWISE = [name for name in OPERATORS if name not in ("gelu", "gelu tanh", "silu", "swiglu")]

LAYOUTS = {
    "Fortran": np.asfortranarray,
    "every second": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "backwards": lambda x: np.ascontiguousarray(x[..., ::-1])[..., ::-1],
    "rows backwards": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "middle axis first": lambda x: np.ascontiguousarray(np.moveaxis(x, 1, 0)).swapaxes(0, 1),
    "window": lambda x: np.pad(x, 1)[1:-1, 1:-1, 1:-1],
}


def drawn(shape, dtype="float32", seed=0, scale=3.0):
    x = scale * np.random.default_rng(seed).standard_normal(shape)
    return x.astype(numpy_dtype(dtype))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", OPERATORS)
def test_layout_of_three_axes(name, layout):
    # float64 shows every bit of a sum, float16 goes by way of tables.
    for dtype in ("float64", "float16"):
        x = drawn((5, 4, 300), dtype)
        laid_out = LAYOUTS[layout](x)
        np.testing.assert_array_equal(laid_out, x)
        laid_out.flags.writeable = False
        np.testing.assert_array_equal(OPERATORS[name](laid_out), OPERATORS[name](x))


@pytest.mark.parametrize("name", OPERATORS)
def test_step_zero(name):
    row = drawn((1, 129), "float16")
    whole = OPERATORS[name](np.broadcast_to(row, (40, 129)))
    np.testing.assert_array_equal(whole, np.repeat(OPERATORS[name](row), 40, axis=0))
    np.testing.assert_array_equal(
        OPERATORS[name](np.broadcast_to(np.float32(0.5), (2, 7))), OPERATORS[name](np.full((2, 7), 0.5, "f4"))
    )


@pytest.mark.parametrize("n", [0, 1, 7, 4097, 65_537, 1_048_576])
@pytest.mark.parametrize("name", OPERATORS)
def test_a_row_of_any_length_alone_and_in_a_batch(name, n):
    x = drawn((3 if n < 10**6 else 2, n), "float16")
    whole = OPERATORS[name](x)
    assert whole.shape == (x.shape[:1] if name == "logsumexp" else x.shape)
    np.testing.assert_array_equal(OPERATORS[name](x[-1]), whole[-1])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("name", OPERATORS)
def test_tensors_have_the_bits_of_arrays(name, dtype):
    torch = pytest.importorskip("torch")
    pytest.importorskip("ml_dtypes")
    for shape in ((6, 257), (2, 3, 9001)):
        x = drawn(shape, dtype)
        tensor = torch.from_numpy(x.astype(np.float64)).to(getattr(torch, dtype))
        for array, given_ in ((x, tensor), (np.swapaxes(x, 0, 1), tensor.transpose(0, 1))):
            got = OPERATORS[name](given_)
            assert got.dtype == tensor.dtype
            np.testing.assert_array_equal(
                got.double().numpy(), np.asarray(OPERATORS[name](array)).astype(np.float64)
            )


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", OPERATORS)
def test_whose_exponential_it_is_does_not_show(name, dtype, monkeypatch):
    pytest.importorskip("torch")
    from stable_ops.ops import activations, tensors

    x = np.concatenate([drawn((90, 513), dtype), drawn((60, 513), dtype, 1, 30.0)])
    assert tensors.at_hand()
    with_torch = OPERATORS[name](x)
    monkeypatch.setattr(tensors, "at_hand", lambda: False)
    activations._table.cache_clear()
    np.testing.assert_array_equal(OPERATORS[name](x), with_torch)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", OPERATORS)
def test_the_number_of_threads_is_no_part_of_the_value(name, dtype, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(blocks, "BLOCK_ELEMENTS", 2**15)
    x = drawn((9, 20_000), dtype)
    results = []
    before = torch.get_num_threads()
    for threads in (1, 2, 5):
        monkeypatch.setattr(blocks, "cores", lambda threads=threads: threads)
        torch.set_num_threads(threads)
        try:
            results.append((OPERATORS[name](x), OPERATORS[name](torch.from_numpy(x)).numpy()))
        finally:
            torch.set_num_threads(before)
    for of_array, of_tensor in results:
        np.testing.assert_array_equal(of_array, results[0][0])
        np.testing.assert_array_equal(of_tensor, results[0][1])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", OPERATORS)
def test_extra_memory_is_at_most_eight_blocks_a_core(name, dtype, monkeypatch):
    monkeypatch.setattr(blocks, "cores", lambda: 2)
    monkeypatch.setattr(blocks, "BLOCK_ELEMENTS", 2**14)
    x = np.repeat(drawn((64, 4096), dtype), 4, axis=0)
    for laid_out in (x, x[:, ::-1]):
        OPERATORS[name](laid_out[:1])  # tables
        tracemalloc.start()
        result = OPERATORS[name](laid_out)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        eight_blocks_a_core = 2 * 8 * blocks.BLOCK_ELEMENTS * 8
        assert peak - result.nbytes < eight_blocks_a_core < x.size * 8 / 3


def test_the_smaller_of_cores_and_wanted_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert blocks.cores() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert blocks.cores() >= 1
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert blocks.cores() >= 1


def test_an_error_in_one_thread_is_an_error(monkeypatch):
    monkeypatch.setattr(blocks, "cores", lambda: 3)

    def one(start):
        if start == 5:
            raise KeyError("five")

    with pytest.raises(KeyError, match="five"):
        blocks.share(lambda: one, range(100), elements=10**9)


def test_every_block_is_done_once(monkeypatch):
    monkeypatch.setattr(blocks, "cores", lambda: 4)
    done = []
    blocks.share(lambda: done.append, range(1000), elements=10**9)
    assert sorted(done) == list(range(1000))


@given(st.integers(0, 2**32 - 1), st.sampled_from(["float16", "bfloat16"]))
def test_ties_that_a_cast_through_float32_would_make(seed, dtype):
    """Numbers within 2^-30 of a tie, of a subnormal and of overflow too: one rounding, as the slow rule."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("ml_dtypes")
    from stable_ops.ops import tensors

    rng = np.random.default_rng(seed)
    format = get_format("fp16" if dtype == "float16" else "bf16")
    codes = rng.integers(0, 2**16, 500).astype(np.uint16).view(numpy_dtype(dtype))
    with np.errstate(all="ignore"):
        codes = codes.astype(np.float64)
        half = np.where(np.isfinite(codes), stable_ops.fp.ulp(codes, format) / 2, 0.0)
        ties = codes + half * rng.choice([-1, 0, 1], 500)
        y = ties * (1 + rng.choice([-1, 0, 1], 500) * 2.0 ** -rng.integers(26, 53, 500))
        expected = round_float64(y, format)
        out = torch.empty(500, dtype=getattr(torch, dtype))
        tensors._round_into(out, y, blocks.Workspace())
        np.testing.assert_array_equal(out.double().numpy(), expected)
        if dtype == "bfloat16":
            np.testing.assert_array_equal(round_bfloat16(y), expected)


def test_another_byte_order_is_read_and_not_kept():
    x = drawn((3, 50))
    for name in OPERATORS:
        got = OPERATORS[name](x.astype(">f4"))
        assert got.dtype == np.dtype("float32")
        np.testing.assert_array_equal(got, OPERATORS[name](x))


def test_subclasses():
    x = drawn((3, 5), "float64")
    got = stable_ops.softmax(x.view(np.matrix))
    assert type(got) is np.ndarray
    np.testing.assert_array_equal(got, stable_ops.softmax(x))
    with pytest.raises(BadInput, match="filled"):
        stable_ops.softmax(np.ma.masked_less(x, 0))


@pytest.mark.parametrize("name", ROWWISE)
def test_no_axis(name):
    torch = pytest.importorskip("torch")
    for x in (np.float32(1.0), torch.tensor(1.0)):
        with pytest.raises((BadInput, IndexError), match=r"axis|index"):
            OPERATORS[name](x)


def test_sparse_tensors_are_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(BadInput, match="to_dense"):
        stable_ops.gelu(torch.eye(3).to_sparse())


def test_gradients_are_refused_with_a_way_out():
    torch = pytest.importorskip("torch")
    x = torch.zeros(2, 3, requires_grad=True)
    for name, operator in OPERATORS.items():
        with pytest.raises(BadInput, match=r"detach.*no_grad.*torch\.nn\.functional"):
            operator(x)
        with torch.no_grad():
            assert not operator(x).requires_grad, name
