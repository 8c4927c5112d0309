"""The "hf" and "gemma" forms of rms_norm beside the modules of transformers: which bits are equal."""

import pytest

from stable_ops import rms_norm
from stable_ops.fp import round_to

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers.models.gemma.modeling_gemma import GemmaRMSNorm  # noqa: E402
from transformers.models.llama.modeling_llama import LlamaRMSNorm  # noqa: E402

FORMS = {"hf": LlamaRMSNorm, "gemma": GemmaRMSNorm}
# The share of elements whose bits may differ: a few times the chance that float32 arithmetic crosses a tie.
SHARE = {torch.float16: 1 / 5_000, torch.bfloat16: 1 / 15_000}
NARROW = list(SHARE)
# Unit roundoff of float32. Their mean of squares is off by at most 4 of it on these rows, which halves in the
# root; the root, the reciprocal, the product and 1 + w are off by one each.
NEAR = 8 * 2.0**-24


def module(form, weight, eps=1e-6):
    made = FORMS[form](len(weight), eps).to(weight.dtype)
    made.weight.data.copy_(weight)
    return made


def draw(shape, dtype, *, seed, scale=1.0, shift=0.0):
    return (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale + shift).to(dtype)


def normed(x):
    """x / rms in float64."""
    wide = x.double()
    return wide / (wide.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt()


def off_tie(y, dtype):
    """Distance of each float64 number from the nearest tie of a format, relative to the number."""
    near = y.to(dtype).double()
    spacing = torch.exp2(torch.floor(torch.log2(y.abs())) - (10 if dtype == torch.float16 else 7))
    return (spacing / 2 - (y - near).abs()).abs() / y.abs()


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [64, 1000, 4096])
def test_other_bits_only_where_their_float32_arithmetic_crosses_a_tie(form, dtype, n):
    x = draw((200_000 // n, n), dtype, seed=n, scale=3.0)
    weight = draw(n, dtype, seed=1, scale=0.5, shift=1.0 if form == "hf" else 0.0)
    theirs, ours = module(form, weight)(x).detach(), rms_norm(x, weight, form=form)
    other = ours != theirs
    assert other.float().mean() < SHARE[dtype]
    # The rounding that decides: of x / rms before the weight, or of the whole product.
    exact = normed(x) if form == "hf" else normed(x) * (1 + weight.double())
    assert (off_tie(exact, dtype)[other] < NEAR).all()


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("form", FORMS)
def test_all_bits_equal_where_the_root_is_exact(form, dtype):
    """Rows of plus and minus one power of two: nothing is rounded before the rounding to the format."""
    signs = torch.sign(draw((512, 256), torch.float32, seed=2))
    powers = torch.exp2(torch.arange(512) % 12 - 4)[:, None]
    weight = draw(256, dtype, seed=3, shift=1.0)
    x = (signs * powers).to(dtype)
    theirs = module(form, weight, eps=0.0)(x).detach()
    assert torch.equal(rms_norm(x, weight, eps=0.0, form=form), theirs)


@pytest.mark.parametrize("dtype", NARROW)
def test_all_bits_are_those_of_their_order_without_the_float32_error(dtype):
    """LlamaRMSNorm.forward with its float32 replaced by float64."""
    x, weight = draw((300, 1024), dtype, seed=4, scale=2.0), draw(1024, dtype, seed=5, shift=1.0)
    wide = x.to(torch.float64)
    variance = wide.pow(2).mean(-1, keepdim=True)
    wide = wide * torch.rsqrt(variance + 1e-6)
    # torch's own cast from float64 goes through float32, a rounding that theirs has not.
    narrow = torch.from_numpy(round_to(wide.numpy(), str(dtype).removeprefix("torch."))).to(dtype)
    assert torch.equal(rms_norm(x, weight, form="hf"), weight * narrow)


@pytest.mark.parametrize("form", FORMS)
def test_float32_is_within_the_error_of_theirs(form):
    """Their float32 results are not the nearest ones, so no form can share their bits; ours nearly are."""
    x, weight = draw((200, 1024), torch.float32, seed=6), draw(1024, torch.float32, seed=7)
    exact = normed(x) * (weight.double() + (form == "gemma"))
    ours, theirs = rms_norm(x, weight, form=form), module(form, weight)(x).detach()
    assert ((ours - exact).abs() / exact.abs()).max() < 2 * 2.0**-24
    assert ((theirs - exact).abs() / exact.abs()).max() < NEAR
    assert (ours != theirs).float().mean() > 0.1


@pytest.mark.parametrize("form", FORMS)
def test_the_other_forms_are_further_away(form):
    x, weight = draw((100, 512), torch.bfloat16, seed=8), draw(512, torch.bfloat16, seed=9, scale=0.1)
    theirs = module(form, weight)(x).detach()
    for other in ("exact", "hf", "gemma"):
        if other != form:
            assert (rms_norm(x, weight, form=other) != theirs).float().mean() > 0.1
