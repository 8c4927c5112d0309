"""The quick screens before a judgement never hide what the judgement itself finds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from stable_ops.audit import judge, operands  # noqa: E402
from stable_ops.audit.sample import magnitude_range, smallest_magnitude  # noqa: E402
from stable_ops.audit.screen import Screen  # noqa: E402
from stable_ops.fp import get_format  # noqa: E402

NAMES = sorted(judge.DTYPES)


def pair(seed: int, kind: str, n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    a = (rng.standard_normal(n) * 2.0 ** rng.integers(-12, 12)).astype(np.float32)
    if kind == "near":
        b = -a * (1 + rng.standard_normal(n) * 2.0 ** rng.uniform(-14, 0))
    elif kind == "small":
        b = a * rng.standard_normal(n) * 2.0 ** rng.uniform(-16, 0)
    else:
        b = np.ldexp(rng.standard_normal(n), rng.integers(-24, 10, n))
    return a, b.astype(np.float32)


@given(
    st.integers(0, 2**32),
    st.sampled_from(["near", "small", "wide"]),
    st.sampled_from(NAMES),
    st.sampled_from([1, 9, 300]),
)
def test_pairs(seed, kind, name, n):
    a, b = pair(seed, kind, n)
    format = get_format(name)
    with np.errstate(all="ignore"):
        low_a, low_b = judge.rounded(a, format), judge.rounded(b, format)
        total = judge.rounded(low_a + low_b, format)
        exact = a.astype(np.float64) + b
        expected = [
            judge.absorption(low_a, low_b, total, format) or judge.absorption(low_b, low_a, total, format),
            judge.cancellation(exact, low_a.astype(np.float64) + low_b, format),
        ]
        drawn = operands.Operands("add", pair=(a, b), absorbs=(True, True))
        found = operands.row_losses(drawn, format, same_accumulator=False)
    assert [x for x in found if x] == [x for x in expected if x]


@given(
    st.integers(0, 2**32),
    st.sampled_from(["layer_norm", "softmax"]),
    st.sampled_from(["fp16", "bf16"]),
    st.floats(-4, 12),
)
def test_rows(seed, op, name, power):
    rng = np.random.default_rng(seed)
    rows = (2.0**power + rng.standard_normal((20, 64))).astype(np.float32)
    format = get_format(name)
    function = operands._REFERENCES[op]
    stored = judge.rounded(rows, format).astype(np.float64)
    expected = judge.row_cancellation(function(rows.astype(np.float64)), function(stored), format)
    found = operands.row_losses(operands.Operands(op, rows=rows), format, same_accumulator=False)
    assert [x for x in found if x] == ([expected] if expected else [])


@given(st.integers(0, 2**32), st.sampled_from(NAMES), st.floats(-6, 6))
def test_small_values(seed, name, power):
    """A tenth zero or half below the normal numbers: the rule itself, in the format."""
    format = get_format(name)
    rng = np.random.default_rng(seed)
    x = (2.0**power * format.min_normal * np.exp(2 * rng.standard_normal(200))).astype(np.float32)
    stored = judge.rounded(x, format)
    expected = np.mean(stored == 0) >= 0.1 or np.mean(stored < format.min_normal) >= 0.5
    assert (judge.underflow(x[x > 0], format) is not None) == expected


def test_what_is_screened_is_not_everything():
    """Otherwise the tests above would say nothing."""
    kept = {"absorption": 0, "cancellation": 0}
    for seed in range(60):
        for kind in ("near", "small"):
            a, b = pair(seed, kind)
            drawn = operands.Operands("add", pair=(a, b), absorbs=(True, True))
            for loss in operands.row_losses(drawn, get_format("bf16"), same_accumulator=False):
                if loss:
                    kept[loss.kind] += 1
    assert min(kept.values()) >= 10
    assert max(kept.values()) <= 110


@given(st.integers(0, 2**32), st.integers(0, 5))
def test_the_range_of_a_tensor(seed, zeros):
    rng = np.random.default_rng(seed)
    x = np.ldexp(rng.standard_normal(50), rng.integers(-140, 120, 50)).astype(np.float32)
    x[:zeros] = 0
    nonzero = np.abs(x[x != 0])
    assert smallest_magnitude(np.abs(x)) == nonzero.min()
    assert magnitude_range(torch.from_numpy(x)) == (nonzero.max(), False)
    x[7] = -np.inf
    assert magnitude_range(torch.from_numpy(x)) == (np.abs(x[np.isfinite(x)]).max(), True)
    assert smallest_magnitude(np.zeros(3, np.float32)) == np.inf


SETS = st.sampled_from([("fp16", "bf16"), ("bf16",), ("fp8_e4m3fn", "fp16"), tuple(NAMES)])


@given(st.integers(0, 2**32), st.sampled_from(["near", "small", "wide"]), SETS, st.sampled_from([1, 9, 300]))
def test_what_the_screen_drops_is_no_loss_in_any_format_of_pairs(seed, kind, names, n):
    formats = [get_format(name) for name in names]
    drawn = operands.Operands("add", pair=pair(seed, kind, n), absorbs=(True, True))
    with np.errstate(all="ignore"):
        if operands.may_lose(drawn, Screen(formats), same_accumulator=False):
            return
        for format in formats:
            assert not any(operands.row_losses(drawn, format, same_accumulator=False)), format


@given(st.integers(0, 2**32), SETS, st.floats(-8, 8), st.integers(0, 150))
def test_what_the_screen_drops_is_no_loss_in_any_format_of_values(seed, names, power, zeros):
    formats = [get_format(name) for name in names]
    border = np.random.default_rng(seed).choice([f.min_normal for f in formats])
    x = (2.0**power * border * np.exp(2 * np.random.default_rng(seed + 1).standard_normal(200))).astype(
        np.float32
    )
    x[:zeros] = 0
    if not Screen(formats).values(float(x.max()), x):
        for format in formats:
            assert judge.overflow(float(x.max()), format) is None
            assert judge.underflow(x[x > 0], format) is None


def test_the_screen_drops_most_of_what_is_sound():
    sound, screen = 0, Screen([get_format("fp16"), get_format("bf16")])
    for seed in range(40):
        a, b = np.random.default_rng(seed).standard_normal((2, 1000)).astype(np.float32)
        drawn = operands.Operands("add", pair=(a, b), absorbs=(True, True))
        lost = operands.may_lose(drawn, screen, same_accumulator=False) or screen.values(
            float(a.max()), np.abs(a)
        )
        sound += not lost
    assert sound >= 36
