"""The softmax family on a GPU: every kernel of it, rows shared by programs, streams and graphs."""

import pytest

import stable_ops

torch = pytest.importorskip("torch")
pytest.importorskip("triton")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

from stable_ops.ops.triton.tiers import LIMIT_ULP, tier  # noqa: E402

OPS = ("softmax", "log_softmax", "logsumexp")
DTYPES = ("float16", "bfloat16", "float32")
LENGTHS = (1, 7, 128, 300, 1024, 4097, 8192, 16384, 16390, 32768, 40000, 65536, 65537, 2**18, 2**20)
# Bits of the mantissa, and the exponent of the smallest normal number.
FORMATS = {"float16": (10, -14), "bfloat16": (7, -126), "float32": (23, -126)}


def draw(count, length, dtype, seed=0, scale=3.0):
    generator = torch.Generator("cuda").manual_seed(seed)
    x = torch.randn(count, length, generator=generator, device="cuda") * scale
    return x.to(getattr(torch, dtype))


def difficult(length, dtype):
    """Rows with NaN, infinities, -inf in a part or everywhere but once, far from zero, with a lone peak."""
    x = draw(20, length, dtype)
    x[0, length // 2] = torch.nan
    x[1, -1] = torch.inf
    x[2] = -torch.inf
    x[3, 1:] = -torch.inf
    x[4] = 0.0
    x[5] = torch.arange(length, device="cuda") % 97 + 7000.0
    x[6] = -x[5]
    x[7, : length // 2] = -torch.inf
    x[8] = torch.linspace(-30000, 30000, length, device="cuda")
    x[9, 0] = 60000.0
    x[10] *= 30
    x[11, : length // 2 + 3] -= 300
    x[12] = -12.0
    x[12, -1] = 3.0
    x[13] = -torch.log(torch.tensor(float(length)))
    x[14] -= torch.logsumexp(x[14].double(), 0).to(x.dtype)
    return x


def truth(op, x):
    """In float64 on the GPU, the largest element outside the sum."""
    wide = x.double()
    peak = wide.amax(-1, keepdim=True)
    weights = (wide - peak).exp()
    if op == "softmax":
        return weights / weights.sum(-1, keepdim=True)
    rest = weights.scatter(-1, weights.argmax(-1, keepdim=True), 0.0).sum(-1, keepdim=True)
    if op == "log_softmax":
        return (wide - peak) - rest.log1p() + 0.0 * peak
    total = (peak + rest.log1p()).squeeze(-1)
    undefined = wide.isnan().any(-1)
    total = torch.where(peak.isinf().squeeze(-1), peak.squeeze(-1), total)
    return torch.where(undefined, torch.nan, total)


def worst_ulp(y, exact):
    bits, smallest = FORMATS[str(y.dtype).removeprefix("torch.")]
    exponent = torch.where(exact == 0, smallest, (torch.frexp(exact)[1] - 1).clamp(min=smallest))
    error = (y.double() - exact).abs() / torch.ldexp(torch.ones_like(exact), exponent - bits)
    same = (y.double() == exact) | (y.isnan() & exact.isnan())
    return torch.where(same, 0.0, error).nan_to_num(nan=torch.inf).max().item()


def same(a, b):
    return a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all())


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", OPS)
def test_difficult_rows(op, dtype, length):
    if length == 1:
        pytest.skip("those rows need more than one element")
    x = difficult(length, dtype)
    y = getattr(stable_ops, op)(x)
    exact = truth(op, x)
    if dtype == "float32":
        # What m and the logarithm lose where they cancel is stated in absolute terms (see `logsumexp`).
        x, y, exact = x[:13], y[:13], exact[:13]
    assert worst_ulp(y, exact) <= LIMIT_ULP[tier(op, dtype)] + 2.0**-20
    for rows in (slice(0, 1), slice(5, 6), slice(3, 14)):
        assert same(getattr(stable_ops, op)(x[rows].clone()), y[rows])


@pytest.mark.parametrize("length", [100, 20000, 2**17, 2**20])
@pytest.mark.parametrize("op", OPS)
def test_bits_do_not_depend_on_the_batch(op, length):
    x = draw(300 if length < 2**20 else 40, length, "bfloat16")
    function = getattr(stable_ops, op)
    y = function(x)
    for _ in range(3):
        assert same(function(x), y)
    assert same(function(x[7:9]), y[7:9])


def test_rows_on_two_streams_at_once():
    """Programs of two calls share the device, each with the words of its own call."""
    xs = [draw(64, 2**18, "bfloat16", seed=seed) for seed in range(2)]
    alone = [stable_ops.softmax(x) for x in xs]
    streams = [torch.cuda.Stream() for _ in xs]
    torch.cuda.synchronize()
    for _ in range(10):
        results = []
        for x, stream in zip(xs, streams, strict=True):
            with torch.cuda.stream(stream):
                results.append(stable_ops.softmax(x))
        torch.cuda.synchronize()
        assert all(same(a, b) for a, b in zip(alone, results, strict=True))


@pytest.mark.parametrize("op", OPS)
def test_a_captured_graph_can_be_replayed(op):
    function = getattr(stable_ops, op)
    x = draw(16, 2**17, "bfloat16")
    function(x)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = function(x)
    for seed in range(1, 4):
        x.copy_(draw(16, 2**17, "bfloat16", seed=seed))
        graph.replay()
        torch.cuda.synchronize()
        assert same(y, function(x))


@pytest.mark.parametrize("op", OPS)
def test_long_rows_of_more_elements_than_an_int32_counts(op):
    length = 2**18
    rows = 2**31 // length + 1
    if torch.cuda.mem_get_info()[0] < 6 * 2**31:
        pytest.skip("needs 12 GiB of free GPU memory")
    x = torch.zeros(rows, length, dtype=torch.bfloat16, device="cuda")
    x[-1:] = draw(1, length, "bfloat16")
    y = getattr(stable_ops, op)(x)
    assert same(y[-1:], getattr(stable_ops, op)(x[-1:].clone()))
    assert same(y[:1], getattr(stable_ops, op)(x[:1].clone()))
