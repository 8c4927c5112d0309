"""layer_norm and rms_norm on a GPU: the bits of the CPU form, over adversarial rows of many lengths."""

import pytest

import stable_ops

torch = pytest.importorskip("torch")
pytest.importorskip("triton")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

# On both sides of where another kernel, or another number of programs, takes over.
LENGTHS = (
    1, 5, 64, 128, 500, 512, 1000, 1024, 1025, 2048, 4096, 4100, 8192, 16384, 32768, 32769, 100_003, 100_008,
)  # fmt: skip
FORMS = {
    "layer_norm": lambda x, w, b, eps: stable_ops.layer_norm(x, w, b, eps=eps),
    "layer_norm alone": lambda x, w, b, eps: stable_ops.layer_norm(x, eps=eps),
    "rms_norm": lambda x, w, b, eps: stable_ops.rms_norm(x, w, eps=eps),
    "rms_norm alone": lambda x, w, b, eps: stable_ops.rms_norm(x, eps=eps),
    "hf": lambda x, w, b, eps: stable_ops.rms_norm(x, w, eps=eps, form="hf"),
    "gemma": lambda x, w, b, eps: stable_ops.rms_norm(x, w, eps=eps, form="gemma"),
}
SHORT = (torch.float16, torch.bfloat16)


def same(a, b):
    """The same bits, any NaN being as good as another."""
    return a.dtype == b.dtype and a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all())


def differing(a, b):
    return ((a != b) & ~(a.isnan() & b.isnan())).nonzero().tolist()


def rows(length, dtype, seed=0):
    """Shifted means, subnormal and huge numbers, rational roots, one dominant number, what is not finite."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(20, length, generator=generator, dtype=torch.float64)
    x[1] += 1e4
    x[2] = 1000 + x[2] * 0.01
    x[3] *= torch.finfo(dtype).tiny
    x[4] *= torch.finfo(dtype).max / 8
    x[5] = torch.sign(x[5])
    x[6] = torch.where(x[6] > 0, 3.0, -5.0)
    x[7] = 0
    x[8] = 7
    if length & (length - 1) == 0:
        # Of other lengths the mean is no float64 though the root is rational: the CPU form may miss the ties.
        x[9, 1:] = 0
    x[10, 0] = 1e4
    x[11, -1] = -3e4
    x[12, 0] = torch.inf
    x[13, -1] = torch.nan
    x[14] = 2.0 ** torch.randint(-20, 12, (length,), generator=generator) * torch.sign(x[14])
    x[15] *= 2.0**-10
    x[16, ::2] = 0
    x[17] = torch.arange(length) % 7 - 3
    # A mean that numbers are equal to, and a root that is not rational: exact zeros.
    x[18] = 3
    x[18, : length // 4] += 1
    x[18, length // 4 : 2 * (length // 4)] -= 1
    # Not all of the long ones, for the time that the CPU form takes.
    return (x if length < 10_000 else x[[1, 2, 6, 13, 17, 18]]).to(dtype)


def vectors(length, dtype, seed=1):
    generator = torch.Generator().manual_seed(seed)
    w, b = torch.randn(2, length, generator=generator, dtype=torch.float64)
    w += 1
    if length > 40:
        w[3], w[4], w[5], w[6], w[7] = 1e30, 1e-30, 0, torch.inf, torch.finfo(dtype).tiny
        b[8], b[9], b[10], b[11] = torch.finfo(dtype).max, torch.finfo(dtype).tiny / 4, torch.nan, -torch.inf
        b[20:30] = -w[20:30]
    return w.to(dtype), b.to(dtype)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("dtype", SHORT, ids=str)
def test_bits_of_the_cpu_form(dtype, length):
    x = rows(length, dtype)
    w, b = vectors(length, dtype)
    for (form, function), eps in ((item, eps) for item in FORMS.items() for eps in (1e-5, 0.0)):
        y = function(x.cuda(), w.cuda(), b.cuda(), eps).cpu()
        exact = function(x, w, b, eps)
        assert same(y, exact), (form, eps, differing(y, exact)[:8])


@pytest.mark.parametrize("length", [64, 1000, 8192, 100_003])
def test_vectors_of_another_dtype(length):
    x = rows(length, torch.bfloat16)
    w, b = vectors(length, torch.bfloat16)
    # Ties of bfloat16, which a row of equal numbers passes on.
    w, b = w.float() * (1 + 2.0**-8), b.float() * (1 + 2.0**-8)
    for eps in (1e-5, 1e300, 1e-310):
        for form, function in FORMS.items():
            y, exact = function(x.cuda(), w.cuda(), b.cuda(), eps).cpu(), function(x, w, b, eps)
            assert same(y, exact), (form, eps, differing(y, exact)[:8])


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("dtype", [*SHORT, torch.float32], ids=str)
def test_a_row_has_its_bits_in_every_batch(dtype, length):
    x = rows(length, dtype).cuda().repeat(260 // len(rows(length, dtype)) + 1, 1)[:260]
    w, b = (v.cuda() for v in vectors(length, dtype))
    for form, function in FORMS.items():
        y = function(x, w, b, 1e-5)
        for part in (slice(0, 1), slice(9, 10), slice(3, 100), slice(128, 260)):
            assert same(function(x[part], w, b, 1e-5), y[part]), (form, part)
        assert same(function(x, w, b, 1e-5), y), form
    unaligned = torch.empty(x.numel() + 1, dtype=x.dtype, device="cuda")[1:].view_as(x).copy_(x)
    assert same(stable_ops.layer_norm(unaligned, w, b), stable_ops.layer_norm(x, w, b))
    assert same(stable_ops.rms_norm(x.t().contiguous().t(), w), stable_ops.rms_norm(x, w))


@pytest.mark.parametrize("length", [64, 1000, 4096, 65536])
def test_float32(length):
    x = torch.randn(64, length, generator=torch.Generator().manual_seed(2))
    w, b = torch.randn(2, length, generator=torch.Generator().manual_seed(3))
    for shift in (0.0, 1e4):
        shifted = x + shift
        exact = stable_ops.layer_norm(shifted.double(), w.double(), b.double())
        error = (stable_ops.layer_norm(shifted.cuda(), w.cuda(), b.cuda()).cpu() - exact).abs().max()
        # Half an ulp of the largest results, which are below 32.
        assert error < 1e-6
        exact = stable_ops.rms_norm(shifted.double(), w.double())
        y = stable_ops.rms_norm(shifted.cuda(), w.cuda()).cpu()
        assert ((y - exact).abs() <= 2.0**-24 * exact.abs() * 1.001).all()


def test_no_norm_overflows_or_vanishes():
    for dtype, scale in (
        (torch.bfloat16, 1e38),
        (torch.float32, 1e38),
        (torch.bfloat16, 1e-38),
        (torch.float32, 1e-40),
    ):
        x = (
            torch.randn(8, 4096, generator=torch.Generator().manual_seed(4), dtype=torch.float64) * scale / 4
        ).to(dtype)
        y = stable_ops.rms_norm(x.cuda(), eps=0.0).cpu()
        wide = x.double()
        exact = wide / wide.square().mean(-1, keepdim=True).sqrt()
        assert (
            (y.double() - exact).abs() <= exact.abs() * (2.0**-8 if dtype == torch.bfloat16 else 2.0**-23)
        ).all()


def test_more_rows_than_an_int32_counts_elements_of():
    length = 4096
    if torch.cuda.mem_get_info()[0] < 6 * 2**31:
        pytest.skip("needs 12 GiB of free GPU memory")
    x = torch.zeros(2**31 // length + 1, length, dtype=torch.bfloat16, device="cuda")
    x[-1] = rows(length, torch.bfloat16)[0]
    y = stable_ops.layer_norm(x)
    assert same(y[-1:], stable_ops.layer_norm(x[-1:].clone()))
    assert not y[:1].any()
