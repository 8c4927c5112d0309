"""The float32 filter of the norms' kernels: its instructions, run by numpy, never decide wrongly."""

import importlib.util
import re

import numpy as np
import pytest

from stable_ops.fp import round_to
from stable_ops.fp.formats import BF16, FP16

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs Triton")

FORMATS = {True: BF16, False: FP16}
COUNT = 20_000


def to_bits(x, bf16):
    """16-bit codes of float32 numbers that are numbers of the format."""
    if bf16:
        return (x.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return x.astype(np.float16).view(np.uint16)


def from_bits(bits, bf16):
    if bf16:
        return (bits.astype(np.uint32) << 16).view(np.float32)
    return bits.view(np.float16).astype(np.float32)


class Machine:
    """As many of the instructions as the filter has, each on all elements at once; a branch selects."""

    def __init__(self, operands, bf16):
        self.values = {f"${i}": v for i, v in operands.items()}
        self.bf16 = bf16
        self.types = {}

    def get(self, name, kind):
        name = name.strip()
        if name.startswith("0f"):
            return np.uint32(int(name[2:], 16)).view(np.float32)
        if name.startswith("0d"):
            return np.uint64(int(name[2:], 16)).view(np.float64)
        if re.fullmatch(r"-?(0x[0-9a-fA-F]+|\d+)", name):
            return np.array(int(name, 0)).astype(np.int64).astype(np.uint32)
        value = self.values[name]
        if kind == "f32" and value.dtype == np.uint32:
            return value.view(np.float32)
        if kind in ("b32", "s32") and value.dtype == np.float32:
            return value.view(np.uint32)
        return value

    def run(self, code):
        taken = None
        for line in re.split(r"[;\n]", code.strip().strip("{}")):
            line = line.strip()
            if not line or line.startswith(".reg"):
                continue
            if line.endswith(":"):
                # What was written since the branch holds only where it was not taken.
                before, certain = taken
                for name, value in before.items():
                    if self.values[name] is not value:
                        self.values[name] = np.where(certain, value, self.values[name])
                continue
            if line.startswith("@!"):
                taken = dict(self.values), ~self.values["differ"]
                continue
            self.step(*line.split(None, 1))

    def step(self, name, rest):
        parts = [p.strip() for p in re.findall(r"\{[^}]*\}|[^,{]+", rest) if p.strip()]
        verb, kind = name.split(".")[0], name.split(".")[-1]
        if verb == "vote":
            # Of a warp of one.
            return
        out, sources = (
            parts[0],
            [self.get(p, kind) for p in parts[1:] if verb != "selp" or p != "fits"]
            if "{" not in rest
            else None,
        )
        with np.errstate(all="ignore"):
            if verb == "mov" and out.startswith("{"):
                names = [n.strip() for n in out.strip("{}").split(",")]
                wide = self.values[parts[1]]
                half = np.uint16 if kind == "b32" else np.uint32
                for n, piece in zip(
                    names, wide.view(half).reshape(*wide.shape, 2).transpose(1, 0), strict=True
                ):
                    self.values[n] = np.ascontiguousarray(piece)
                return
            if verb == "mov" and parts[1].startswith("{"):
                low, high = (self.get(n, "b32").astype(np.uint64) for n in parts[1].strip("{}").split(","))
                value = low | (high << np.uint64(32))
            elif verb == "selp":
                value = np.where(self.values[parts[3]], sources[0], sources[1])
            elif verb == "cvt":
                value = self.convert(name, parts)
            elif verb == "setp":
                a, b = (self.get(p, kind) for p in parts[1:3])
                value = a < b if ".lt." in name else a != b
                value = value | self.values[parts[3]] if ".or." in name else value
            elif verb == "lop3":
                # The truth table 0xb8 is (a and not b) or (c and b).
                assert parts[4] == "0xb8"
                a, b, c = sources[:3]
                value = (a & ~b) | (c & b)
            else:
                value = self.arithmetic(verb, name, sources)
        self.values[out] = np.asarray(value)

    def arithmetic(self, verb, name, s):
        if verb == "neg":
            return -s[0]
        if verb == "mov":
            return s[0]
        if verb == "abs":
            return np.abs(s[0])
        if verb == "shl":
            return s[0] << s[1]
        if verb == "xor":
            return s[0] ^ s[1]
        if verb == "and":
            return s[0] & s[1]
        if verb == "mad":
            return s[0] * s[1] + s[2]
        if verb == "prmt":
            # Bytes of a number and of 0, by the digits of the selector.
            given = np.ascontiguousarray(s[0])[..., None].view(np.uint8)
            given = np.concatenate([given, np.zeros_like(given)], axis=-1)
            order = [int(s[2]) >> 4 * i & 7 for i in range(4)]
            return np.ascontiguousarray(given[..., order]).view(np.uint32)[..., 0]
        if verb == "fma":
            exact = s[0].astype(np.longdouble) * s[1] + s[2]
            return exact.astype(np.float32 if name.endswith("f32") else np.float64)
        return {"add": np.add, "sub": np.subtract, "mul": np.multiply}[verb](*s)

    def convert(self, name, parts):
        if name.startswith("cvt.f64"):
            return self.get(parts[1], "f32").astype(np.float64)
        if name == "cvt.rn.f32.f64":
            return self.values[parts[1]].astype(np.float32)
        if name == "cvt.f32.f16":
            return self.values[parts[1]].view(np.float16).astype(np.float32)
        high, low = (round_to(self.get(p, "f32").astype(np.float64), FORMATS[self.bf16]) for p in parts[1:])
        low, high = (to_bits(v, self.bf16).astype(np.uint32) for v in (low, high))
        return low | (high << 16)


def fours(x, bf16):
    return to_bits(x, bf16).reshape(-1, 4).view(np.uint64)[:, 0]


def run(x, w, b, mean, factor, bf16, form):
    """Results of the code, and where it was not certain, for numbers x with one mean and factor each four."""
    from stable_ops.ops.triton import norm_filter

    count = len(x) // 4
    high = mean.astype(np.float32)
    rest = ((high - mean) * factor).astype(np.float32)
    lift = 2.0**66 if bf16 and not form["centre"] else 1.0
    operands = {1: fours(x, bf16), 2: fours(w, bf16), 3: fours(b, bf16), 4: high, 5: rest}
    operands |= {6: (factor * lift).astype(np.float32), 7: np.zeros(count, np.float32)}
    operands |= {8: np.zeros(count, np.float32), 9: mean, 10: factor * 2.0**-896}
    operands |= {11: np.ones(count, np.float32)}
    machine = Machine(operands, bf16)
    machine.run(norm_filter._code(bf16=bf16, **form))
    return from_bits(machine.values["$0"].view(np.uint16), bf16), machine.values["differ"]


def drawn(bf16, seed):
    """Numbers, weights, biases of a format; means and factors in float64, some of them cancelling."""
    rng = np.random.default_rng(seed)
    kind = FORMATS[bf16]
    x = round_to(rng.standard_normal(4 * COUNT) * 2.0 ** np.repeat(rng.integers(-6, 7, COUNT), 4), kind)
    w = round_to(rng.standard_normal(4 * COUNT) * 2.0 ** rng.integers(-3, 3, 4 * COUNT), kind)
    mean = x[::4] * rng.choice([0.0, 0.1, 1.02, 0.98], COUNT) + rng.standard_normal(COUNT)
    factor = np.abs(rng.standard_normal(COUNT)) + 0.1
    b = rng.standard_normal(4 * COUNT)
    # In the first half a bias that takes most of the product away.
    b = np.where(np.arange(4 * COUNT) < 2 * COUNT, -(x - np.repeat(mean, 4)) * np.repeat(factor, 4) * w, b)
    return x, w, round_to(b, kind), mean, factor


FORMS = {
    "layer_norm": {"centre": True, "twice": False, "scale": True, "shift": True, "offset": False},
    "layer_norm alone": {"centre": True, "twice": False, "scale": False, "shift": False, "offset": False},
    "layer_norm bias": {"centre": True, "twice": False, "scale": False, "shift": True, "offset": False},
    "rms_norm": {"centre": False, "twice": False, "scale": True, "shift": False, "offset": False},
    "hf": {"centre": False, "twice": True, "scale": True, "shift": False, "offset": False},
    "gemma": {"centre": False, "twice": False, "scale": True, "shift": False, "offset": True},
}


def expected(x, w, b, mean, factor, kind, form):
    """In extended precision, rounded once (twice): no tie is among random factors."""
    each = [np.repeat(v.astype(np.longdouble), 4) for v in (mean, factor)]
    y = (x.astype(np.longdouble) - (each[0] if form["centre"] else 0)) * each[1]
    if form["twice"]:
        y = nearest(y, kind).astype(np.longdouble)
    if form["scale"]:
        y = y * (w.astype(np.longdouble) + (1 if form["offset"] else 0))
    return nearest(y + b if form["shift"] else y, kind)


def nearest(y, kind):
    """Extended to 16 bits: to float64 with the last bit set where it is inexact, then once."""
    near = y.astype(np.float64)
    bits = near.view(np.int64)
    off = near.astype(np.longdouble) != y
    lower = np.abs(near.astype(np.longdouble)) > np.abs(y)
    odd = np.where(off & (bits & 1 == 0), bits + np.where(lower, -1, 1), bits).view(np.float64)
    return round_to(odd, kind)


@pytest.mark.parametrize("bf16", [True, False], ids=["bf16", "fp16"])
@pytest.mark.parametrize("name", FORMS)
def test_results_are_rounded_once(name, bf16):
    form, kind = FORMS[name], FORMATS[bf16]
    for seed in range(3):
        x, w, b, mean, factor = drawn(bf16, seed)
        y, asked = run(x, w, b, mean, factor, bf16, form)
        right = expected(x, w, b, mean, factor, kind, form)
        # float64 alone is 2^-50 off where a mean cancels: what it may miss is none of these.
        assert np.array_equal(y, right), (name, np.flatnonzero(y != right)[:5])
        # It is a filter: most are certain, and some are not.
        assert 0 < asked[COUNT // 2 :].mean() < (0.005 if bf16 else 0.05)


# 2^-26, and nothing at all.
ENDS = (("_WIDTH", "0f32800000"), ("_BELOW", "0f3F800000"), ("_ABOVE", "0f3F800000"))


@pytest.mark.parametrize("name", ["layer_norm", "rms_norm"])
def test_a_narrower_interval_decides_wrongly(name, monkeypatch):
    from stable_ops.ops.triton import norm_filter

    form, wrong = FORMS[name], 0
    for end, bits in ENDS:
        monkeypatch.setattr(norm_filter, end, bits)
    for seed in range(6):
        x, w, b, mean, factor = drawn(False, seed)
        y, _ = run(x, w, b, mean, factor, False, form)
        wrong += int((y != expected(x, w, b, mean, factor, FP16, form)).sum())
    assert wrong > 0
