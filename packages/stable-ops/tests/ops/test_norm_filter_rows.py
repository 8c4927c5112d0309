"""The filter on the GPU tests' adversarial rows, with what the kernel finds of a row."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs Triton")

TESTS = Path(__file__).parents[1]
# Centre, twice, scale, shift, offset.
FLAGS = {
    "layer_norm": (1, 0, 1, 1, 0),
    "layer_norm alone": (1, 0, 0, 0, 0),
    "rms_norm": (0, 0, 1, 0, 0),
    "rms_norm alone": (0, 0, 0, 0, 0),
    "hf": (0, 1, 1, 0, 0),
    "gemma": (0, 0, 1, 0, 1),
}


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


filters = load(TESTS / "ops" / "test_norm_filter.py")
rows = load(TESTS / "gpu" / "test_norms.py")


def sums(x, centre):
    """What was subtracted, sums of what is left and of its square (see `norm_fours`)."""
    length, wide = x.shape[1], x.astype(np.float64)
    first, second = wide.sum(1), (wide * wide).sum(1)
    far = centre & (length * second * 16 < 17 * first * first)
    c = np.where(far, (first / length).astype(np.float32).astype(np.float64), 0.0)
    off = wide - c[:, None]
    return c, np.where(far, off.sum(1), first), np.where(far, (off * off).sum(1), second)


def trusted(whole, factor, centre, bf16):
    limit = 2.0**60 if bf16 else 2.0**30
    sure = (factor > 1 / limit) & (factor < limit)
    if centre:
        kind = filters.FORMATS[bf16]
        near = filters.round_to(whole.astype(np.float32).astype(np.float64), kind)
        sure &= (whole == near) | (np.abs(whole - near) >= 2.0**-22 * np.abs(whole))
        sure &= (np.abs(whole) * factor * limit >= 1) | (not bf16)
    return sure


def run(x, w, b, eps, flags, bf16):
    """Results, and which rows have a rational root, so that the kernel divides."""
    from stable_ops.ops.triton import norm_filter

    centre = bool(flags[0])
    length = x.shape[1]
    c, first, second = sums(x, centre)
    square = (length * second - (first * first if centre else 0)) * 2.0**160 + eps * (length * 2.0**80) ** 2
    root = np.sqrt(square).astype(np.longdouble)
    rational = (root * root == square.astype(np.longdouble)) & np.isfinite(square)
    factor = length * 2.0**80 * np.where(square == np.inf, 0.0, 1 / np.sqrt(square))
    mean = first / length
    high = (c + mean).astype(np.float32)
    doubt = np.where(trusted(c + mean, factor, centre, bf16), 0, 1)
    lifted = factor * 2.0**66 if bf16 and not centre else factor
    each = [high, (high - (c + mean)) * factor, lifted, doubt, c]
    operands = {4 + i: np.repeat(np.asarray(v).astype(np.float32), length // 4) for i, v in enumerate(each)}
    operands |= {i: np.repeat(v, length // 4) for i, v in ((9, mean), (10, factor * 2.0**-896))}
    for i, v in ((1, x.ravel()), (2, np.tile(w, len(x))), (3, np.tile(b, len(x)))):
        operands[i] = filters.fours(v, bf16)
    operands[11] = np.ones_like(operands[4])
    machine = filters.Machine(operands, bf16)
    names = ("centre", "twice", "scale", "shift", "offset")
    machine.run(norm_filter._code(bf16=bf16, **dict(zip(names, map(bool, flags), strict=True))))
    y = filters.from_bits(machine.values["$0"].view(np.uint16), bf16)
    return y.reshape(x.shape), rational


@pytest.mark.parametrize("bf16", [True, False], ids=["bf16", "fp16"])
@pytest.mark.parametrize("length", [4, 64, 1000])
def test_bits_of_the_cpu_form(length, bf16):
    dtype = torch.bfloat16 if bf16 else torch.float16
    given = (rows.rows(length, dtype), *rows.vectors(length, dtype))
    judged = 0
    for name, flags in FLAGS.items():
        for eps in (1e-5, 0.0):
            with np.errstate(all="ignore"):
                y, rational = run(*(v.float().numpy() for v in given), eps, flags, bf16)
                exact = rows.FORMS[name](*given, eps).float().numpy()
            same = (y == exact) | (np.isnan(y) & np.isnan(exact))
            assert same[~rational].all(), (name, eps, np.argwhere(~same & ~rational[:, None])[:5])
            judged += same[~rational].size
    assert judged > 100 * length
