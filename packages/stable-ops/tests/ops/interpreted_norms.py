"""Run by test_triton_norms.py with TRITON_INTERPRET=1: the norms on CPU tensors against the float64 form."""

import warnings

import torch

import stable_ops
from stable_ops.ops.triton import exchange, norm_teams, norms
from stable_ops.ops.triton.norms import Plan
from stable_ops.testing import error_ulp

warnings.simplefilter("ignore")  # NaN and infinity are meant here, and numpy warns of them
generator = torch.Generator().manual_seed(0)
INF, NAN = float("inf"), float("nan")
FORMS = ("layer_norm", "rms_norm", "hf", "gemma")


def draw(*shape, dtype, scale=1.0):
    return (torch.randn(shape, generator=generator) * scale).to(dtype)


def both(form, x, w, b, eps):
    """A kernel's answer and that of the numpy form."""
    given = [None if v is None else v.numpy() for v in (x, w, b)]
    if form == "layer_norm":
        ours = norms.layer_norm(x, w, b, eps=eps, axis=-1)
        return ours, torch.from_numpy(stable_ops.layer_norm(*given, eps=eps))
    name = form if form in ("hf", "gemma") else "exact"
    ours = norms.rms_norm(x, w, eps=eps, form=name, axis=-1, offset=1.0 if form == "gemma" else 0.0)
    return ours, torch.from_numpy(stable_ops.rms_norm(*given[:2], eps=eps, form=name))


def special(length, dtype):
    """Rows far from their first number, with rational roots, of equal numbers, with what is not finite."""
    x = 3 + draw(14, length, dtype=dtype, scale=2.0)
    x[1] = torch.sign(x[1])
    x[2, 1:] = 0
    x[3] = 0
    x[4] = 7
    x[5, 0] = INF
    x[6, -1] = NAN
    x[7] *= 2.0**-20
    x[8, 0] = 60000
    x[9] += 10000 if dtype == torch.float32 else 1000
    x[10, 0] -= 1000
    x[11, ::2], x[11, 1::2] = 2.0, -4.0
    # A mean that numbers are equal to.
    x[12] = 3
    x[12, : length // 4] = 4
    x[12, length // 4 : 2 * (length // 4)] = 2
    return x


def vectors(length, dtype):
    w, b = 1 + draw(length, dtype=dtype, scale=0.5), draw(length, dtype=dtype)
    if length > 4:
        w[1], w[2], w[3], b[2], b[4] = 60000, INF, 0, 65504, NAN
    return w, b


def judge(form, y, exact):
    """The same bits, any NaN being as good as another; in float32 two of a few thousand may differ."""
    assert y.dtype == exact.dtype
    assert y.shape == exact.shape
    differ = (y != exact) & ~(y.isnan() & exact.isnan())
    places = differ.nonzero().tolist()
    if y.dtype == torch.float32:
        close = error_ulp(y[differ], exact[differ].double().numpy(), floor=1.0) if places else 0.0
        assert len(places) <= 2, (form, y.shape, places[:5])
        assert close <= 1.0, (form, places)
    else:
        assert not places, (form, y.dtype, y.shape, places[:5], y[differ][:5], exact[differ][:5])
    return 1


def in_teams():
    """The kernel for rows that programs share, with one part to a row: the interpreter runs them in turn."""
    cases = 0
    for length, centre in ((256, True), (250, True), (250, False)):
        x = special(length, torch.float16)
        w, b = vectors(length, torch.float16)
        y = torch.empty_like(x)
        scratch = exchange.scratch(2 * len(x), 1, x.device)
        constants = {
            "EPS": 1e-5,
            "OFFSET": 0.0,
            "CENTRE": centre,
            "TWICE": False,
            "SCALE": True,
            "SHIFT": centre,
        }
        constants |= {"UNIT": 1, "EVEN": length == 256, "BLOCK": 256, "STEP": 64, "WIDTH": 1}
        teams = 4
        norm_teams.in_teams[(teams,)](x, w, b, y, scratch, len(x), length, 1, teams, **constants)
        form = "layer_norm" if centre else "rms_norm"
        cases += judge(form, y, both(form, x, w, b, 1e-5)[1])
    return cases


def in_fours():
    """The kernel that keeps four numbers to an int64, with whole rows to a program."""
    cases = 0
    for length, centre in ((256, True), (252, True), (252, False)):
        x = special(length, torch.float16)
        w, b = vectors(length, torch.float16)
        for form in FORMS if length == 252 else FORMS[:1]:
            if (form == "layer_norm") != centre:
                continue
            constants = {
                "EPS": 0.0,
                "OFFSET": 1.0 if form == "gemma" else 0.0,
                "CENTRE": centre,
                "TWICE": form == "hf",
                "SCALE": True,
                "SHIFT": centre,
            }
            exact = both(form, x, w, b, 0.0)[1]
            # Whole rows, and rows of which a part is read at a time.
            for block in (256, 64):
                y = torch.empty_like(x)
                chosen = Plan(block, 1, rows=4, fours=True)
                norms.launched(chosen, length, x.device, 1, constants)(len(x), x, w, b, y)
                cases += judge(form, y, exact)
    return cases


def main():
    cases = 0
    for dtype, length in ((torch.float16, 5), (torch.float16, 129), (torch.float32, 129)):
        x = special(length, dtype)
        w, b = vectors(length, dtype)
        for form in FORMS:
            # Without eps the roots of some rows are rational.
            cases += judge(form, *both(form, x, w, b, 0.0 if length > 5 else 1e-5))
        cases += judge("layer_norm", *both("layer_norm", x[:3], None, b.float(), 1e300))
        cases += judge("rms_norm", *both("rms_norm", x[:4], w, b, 1e-310))
    # Where a tile has several rows, none has other bits for its neighbours' sake.
    x, w = special(5, torch.float16), vectors(5, torch.float16)[0]
    y = norms.rms_norm(x, w, eps=0.0, form="exact", axis=-1)
    for row in range(len(x)):
        alone = norms.rms_norm(x[row : row + 1], w, eps=0.0, form="exact", axis=-1)
        assert torch.equal(alone.nan_to_num(7.0), y[row : row + 1].nan_to_num(7.0))
    # A short row read in pieces, as the kernel for long ones reads it.
    norms.plan = lambda length, **_: Plan(64, warps=1)
    norms._call.cache_clear()
    x = special(130, torch.float16)
    w, b = vectors(130, torch.float16)
    for form in FORMS:
        cases += judge(form, *both(form, x, w, b, 1e-5))
    # As many results as have some within an ulp of float32 of a tie: a last bit is easily lost.
    norms.plan = lambda length, **_: Plan(512, warps=1, rows=16)
    norms._call.cache_clear()
    x, w, b = (draw(*shape, dtype=torch.float16) for shape in ((96, 500), (500,), (500,)))
    for form in FORMS:
        cases += judge(form, *both(form, x, w, b, 1e-5))
    # Products that are ties, which a rational root passes on.
    x, w = torch.sign(x), 1 + torch.arange(500) * 2.0**-10 + 2.0**-11
    cases += judge("rms_norm", *both("rms_norm", x, w, b, 0.0))
    # A row in one part, as the kernel for rows that programs share sees it.
    cases += in_teams()
    cases += in_fours()
    x = draw(4, 6, 5, dtype=torch.float16)
    moved = norms.layer_norm(x.movedim(-1, 0), None, None, eps=1e-5, axis=0).movedim(0, -1)
    assert torch.equal(moved, norms.layer_norm(x, None, None, eps=1e-5, axis=-1))
    print(f"{cases} cases passed")


main()
