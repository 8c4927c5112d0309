"""Weights that an update cannot move: against arithmetic in the format itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfi_command import BadInput
from stable_ops.fp import round_to
from stable_ops.optim import stagnation

ml_dtypes = pytest.importorskip("ml_dtypes")
DTYPES = {"bf16": ml_dtypes.bfloat16, "fp16": np.float16, "fp8_e4m3fn": ml_dtypes.float8_e4m3fn}


def draw(seed: int, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    w, g = rng.standard_normal(n) * 0.3, np.ldexp(rng.standard_normal(n), rng.integers(-3, 3, n))
    w[::7] = rng.choice([-0.25, 0.125, 0.5], w[::7].size)  # powers of two, where the distance changes
    g[::11] = 0
    return w.astype(np.float32), g


def stored(x: np.ndarray, name: str) -> np.ndarray:
    return x.astype(np.float32).astype(DTYPES[name])


def stuck_by_execution(w: np.ndarray, g: np.ndarray, lr: float, name: str) -> int:
    kept = stored(w, name)
    new = stored(kept.astype(np.float64) - lr * g, name)
    return int(((new == kept) & (g != 0)).sum())


@given(st.integers(0, 2**32), st.sampled_from(sorted(DTYPES)), st.floats(-14, -3))
def test_the_count_is_that_of_the_format(seed, name, power):
    w, g = draw(seed)
    lr = 2.0**power
    report = stagnation({"w": w}, {"w": g}, lr=lr, format=name)
    assert report.size == np.count_nonzero(g)
    # Their cast rounds float64 twice: a step within 2^-24 of half a distance may differ.
    assert abs(report.stuck - stuck_by_execution(w, g, lr, name)) <= 1
    assert report.share == report.stuck / report.size


@given(st.integers(0, 2**32), st.sampled_from(["bf16", "fp16"]), st.sampled_from([0.0, 0.01, 0.3]))
def test_the_learning_rate_that_is_needed_is_the_smallest(seed, name, allowed):
    w, g = draw(seed)
    needed = stagnation([w], [g], lr=1e-5, format=name, allowed=allowed).lr_needed
    above = stagnation([w], [g], lr=needed * (1 + 1e-9), format=name, allowed=allowed)
    below = stagnation([w], [g], lr=needed * (1 - 1e-9), format=name, allowed=allowed)
    assert above.share <= allowed < below.share


@pytest.mark.parametrize(
    ("lr", "expected"), [(0.2, "fp8_e5m2"), (0.07, "fp8_e4m3fn"), (1e-3, "fp16"), (1e-5, "fp32")]
)
def test_the_format_that_is_needed(lr, expected):
    w = np.linspace(1.01, 1.99, 200)
    report = stagnation([w], lr=lr, format="bf16")
    assert report.format_needed == expected
    assert stagnation([w], lr=lr, format=expected).share <= 0.01


def test_a_format_that_overflows_is_not_proposed():
    report = stagnation([[1e5, 1.0]], [[1e4, 1.0]], lr=0.1)
    assert report.format_needed == "bf16"


def test_stochastic_rounding_moves_what_is_stuck():
    """The way out that the docstring names: the mean of the stored weights follows the update."""
    w = np.full(20_000, 1.0)
    assert stagnation([w], lr=1e-3).share == 1.0
    moved = round_to(w - 1e-3, "bf16", rounding="stochastic", seed=0)
    assert abs(moved.mean() - (1 - 1e-3)) < 5 * 2**-8 / 2 / np.sqrt(w.size)


def test_tensors_are_reported_one_by_one():
    report = stagnation({"a": np.ones(4), "b": np.full(6, 0.01)}, lr=1e-3)
    assert [(t.name, t.size, t.stuck) for t in report.tensors] == [("a", 4, 4), ("b", 6, 0)]
    assert report.tensors[0].half_ulps == pytest.approx(1e-3 / 2**-9)  # toward zero from a power of two
    assert report.to_dict()["tensors"][1]["name"] == "b"


def test_nothing_to_move():
    report = stagnation([np.ones(3)], [np.zeros(3)], lr=1.0)
    assert (report.size, report.share, report.lr_needed) == (0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1.0]], [[1.0]], {"lr": 0.0}), "lr"),
        (([[1.0]], [[1.0]], {"lr": float("nan")}), "lr"),
        (([[1.0]], [[1.0], [2.0]], {"lr": 1.0}), "give the same"),
        (([[1.0]], [[1.0, 2.0]], {"lr": 1.0}), "shape"),
        (([[np.nan]], [[1.0]], {"lr": 1.0}), "NaN"),
        (([[1.0]], [[1.0]], {"lr": 1.0, "format": "int8"}), "int8"),
        (([[1.0]], [[1.0]], {"lr": 1.0, "allowed": 1.0}), "allowed"),
    ],
)
def test_bad_input(arguments, message):
    weights, gradients, options = arguments
    with pytest.raises(BadInput, match=message):
        stagnation(weights, gradients, **options)
