"""Rows of stable-ops: formats, sums, operators, sampling, optimizers."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

import stable_ops
from mfi.checks import Outcome, Skip, check
from stable_ops.fp import FORMATS, accumulate, get_format, predict_sum_error, ulp
from stable_ops.testing import error_ulp

Float64 = NDArray[np.float64]


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise Skip(f"needs {name}") from None


def _bfloat16() -> Any:
    return np.dtype(_module("ml_dtypes").bfloat16)


def _relative(ours: Any, truth: Any) -> float:
    return float(np.max(np.abs(np.asarray(ours, dtype=np.float64) / np.asarray(truth, dtype=np.float64) - 1)))


@check(
    "w09-float",
    title="Constants and every value of fp16, bf16, all fp8, fp6, fp4 and the scale e8m0 against ml_dtypes",
    bound="exact",
    unit="values that differ",
)
def number_formats() -> Outcome:
    ml_dtypes = _module("ml_dtypes")
    names = (
        *("float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float4_e2m1fn", "float6_e2m3fn"),
        *("float6_e3m2fn", "float8_e3m4", "float8_e4m3", "float8_e4m3fnuz", "float8_e5m2fnuz"),
        *("float8_e4m3b11fnuz", "float8_e8m0fnu"),
    )
    differences, compared = 0, 0
    for name in names:
        dtype, ours = np.dtype(getattr(ml_dtypes, name, name)), get_format(name)
        with np.errstate(invalid="ignore"):
            codes = np.arange(1 << ours.bits).astype(f"u{dtype.itemsize}").view(dtype).astype(np.float64)
        theirs = np.unique(codes[np.isfinite(codes)])
        info = ml_dtypes.finfo(dtype)
        constants = [info.bits, info.eps, info.max, info.smallest_normal, info.smallest_subnormal]
        mine = [ours.bits, ours.eps, ours.max, ours.min_normal, ours.min_subnormal]
        differences += sum(float(a) != float(b) for a, b in zip(constants, mine, strict=True))
        differences += int(np.setxor1d(theirs, ours.values()).size)
        compared += theirs.size + len(constants)
    eps = FORMATS["fp16"].eps
    return Outcome(
        differences, differences == 0 and eps == 9.765625e-4, f"{compared} compared; fp16 eps {eps}"
    )


@check(
    "w09-accumulate",
    title="10,000 x 1e-4 in fp16: the sequential sum stagnates, three ways recover",
    bound="sequential exactly 0.25; pairwise, Kahan and fp32 within 1 ulp of the exact sum",
    unit="sum",
)
def accumulation() -> Outcome:
    values = np.full(10_000, 1e-4)
    sums = {
        "sequential": accumulate(values, format="fp16"),
        "pairwise": accumulate(values, format="fp16", order="pairwise"),
        "kahan": accumulate(values, format="fp16", order="kahan"),
        "fp32 accumulator": accumulate(values, format="fp16", accumulator="fp32"),
    }
    exact = sums["sequential"].exact
    recovered = all(abs(r.sum - exact) <= ulp(exact, "fp16") for k, r in sums.items() if k != "sequential")
    stuck = sums["sequential"]
    passed = stuck.sum == 0.25 and stuck.stagnated_at is not None and recovered
    detail = f"exact {exact:.7f}; the sequential sum stagnates after {stuck.stagnated_at} additions"
    return Outcome({name: r.sum for name, r in sums.items()}, passed, detail)


@check(
    "w10-layernorm",
    title="Bits of a standardised value lost to the mean accumulated in fp16 and fp32, at mean 1e3 and 1e4",
    bound="prediction within 1 bit; ours at mean 1e4 in float32: abs error < 1e-6",
    unit="bits lost, predicted and measured",
)
def layernorm_statistics() -> Outcome:
    rng = np.random.default_rng(0)
    n, rows = 256, 100
    bits: dict[str, list[float]] = {}
    for mean in (1e3, 1e4):
        # The mean varies by a few percent, so that it does not sit on one number of fp16.
        x = mean * rng.uniform(0.9, 1.1, (rows, 1)) + rng.standard_normal((rows, n))
        for name in ("fp16", "fp32"):
            predicted = [_statistics_error(row, name, simulate=False) for row in x]
            measured = [_statistics_error(row, name, simulate=True) for row in x]
            resolution = get_format(name).eps / math.sqrt(12)
            key = f"{name} at {mean:g}"
            for part in (0, 1):
                label = f"{key}, {'variance' if part else 'mean'}"
                pair = [_rms([errors[part] for errors in kind]) for kind in (predicted, measured)]
                bits[label] = [round(math.log2(value / resolution), 2) for value in pair]
    worst = max(abs(predicted - measured) for predicted, measured in bits.values())
    x32 = (1e4 + rng.standard_normal((8, 4096))).astype(np.float32)
    truth = _layer_norm(x32)
    error = float(np.max(np.abs(stable_ops.layer_norm(x32) - truth)))
    detail = f"worst prediction {worst:.2f} bits off; ours at mean 1e4: {error:.2g}"
    return Outcome(dict(bits), worst < 1 and error < 1e-6, detail)


def _rms(values: list[float]) -> float:
    return math.sqrt(math.fsum(v * v for v in values) / len(values))


def _statistics_error(row: Float64, name: str, *, simulate: bool) -> tuple[float, float]:
    """Error of mean/std and relative error of the variance, both from pairwise sums in a format.

    The mean is the sum of x/n (the sum of x overflows in fp16); the variance is that of x minus this mean, as
    in a two-pass LayerNorm, so that an error d of the mean adds d^2 to it.
    """
    n, std = row.size, row.std()
    if not simulate:
        error = predict_sum_error(row / n, format=name)
        squares = np.square(row - row.mean()) / n
        # The fourth moment of a normal error of the mean is three times its squared variance.
        variance = math.hypot(math.sqrt(3) * error**2, predict_sum_error(squares, format=name))
        return error / std, variance / std**2
    mean = accumulate(row / n, format=name, order="pairwise").sum
    variance = accumulate(np.square(row - mean) / n, format=name, order="pairwise").sum
    return (mean - row.mean()) / std, variance / std**2 - 1


def _layer_norm(x: NDArray[Any]) -> Float64:
    """n x - sum(x) is exact in float64 for float32 of one magnitude."""
    wide = x.astype(np.float64)
    centred = (x.shape[-1] * wide - wide.sum(axis=-1, keepdims=True)) / x.shape[-1]
    return np.asarray(centred / np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + 1e-5))


def _softmax(x: NDArray[Any]) -> Float64:
    wide = x.astype(np.float64)
    weights = np.exp(wide - wide.max(axis=-1, keepdims=True))
    return np.asarray(weights / np.array([math.fsum(row) for row in weights])[:, None])


@check(
    "w13-softmax",
    title="Softmax against a float64 oracle: [1000, 1001, 1002], N up to 1,048,576, scale 10",
    bound="abs error < 1e-7 in float32; <= 0.501 ulp in fp16 and bf16",
    unit="abs error (float32), ulp (fp16, bf16)",
)
def softmax_accuracy() -> Outcome:
    rng = np.random.default_rng(0)
    rows = [np.array([[1000.0, 1001.0, 1002.0]])]
    rows += [scale * rng.standard_normal((1, n)) for n in (3, 4096, 2**20) for scale in (1.0, 10.0)]
    measured = {"float32": 0.0, "fp16": 0.0, "bf16": 0.0}
    for x in rows:
        single = x.astype(np.float32)
        error = np.max(np.abs(stable_ops.softmax(single) - _softmax(single)))
        measured["float32"] = max(measured["float32"], float(error))
        for name, dtype in (("fp16", np.dtype(np.float16)), ("bf16", _bfloat16())):
            half = x.astype(dtype)
            errors = error_ulp(stable_ops.softmax(half), _softmax(half))
            measured[name] = max(measured[name], float(errors.max()))
    passed = measured["float32"] < 1e-7 and max(measured["fp16"], measured["bf16"]) <= 0.501
    return Outcome(dict(measured), passed, f"{len(rows)} rows, the longest of {2**20} columns")


@check(
    "w13-online",
    title="Blockwise softmax against the one-pass result, adversarial block orders",
    bound="same bits in fp16 and bf16",
    unit="outputs that differ",
)
def online_softmax() -> Outcome:
    rng = np.random.default_rng(0)
    orders: dict[str, Callable[[Float64], NDArray[np.intp]]] = {
        "ascending": lambda x: np.argsort(x),
        "descending": lambda x: np.argsort(-x),
        "largest last": lambda x: np.roll(np.arange(x.size), -1 - int(x.argmax())),
        "shuffled": lambda x: rng.permutation(x.size),
    }
    different, compared = 0, 0
    for dtype in (np.dtype(np.float16), _bfloat16()):
        for scale in (1.0, 10.0, 1000.0):
            x = (scale * rng.standard_normal(1024)).astype(dtype)
            x[:3] = -np.inf
            for order in orders.values():
                row = x[order(x.astype(np.float64))]
                for size in (1, 64, 500):
                    blocks = [row[i : i + size] for i in range(0, row.size, size)]
                    halves = [stable_ops.OnlineSoftmax(), stable_ops.OnlineSoftmax()]
                    for i, block in enumerate(blocks):
                        halves[i % 2].update(block)
                    halves[0].merge(halves[1])
                    joined = np.concatenate([halves[0].probabilities(block) for block in blocks])
                    different += int(np.sum(joined != stable_ops.softmax(row)))
                    compared += row.size
    return Outcome(
        different, different == 0, f"{compared} compared, blocks of 1, 64 and 500, merged in halves"
    )


@check(
    "w14-logsumexp",
    title="logsumexp and log_softmax, tails included, and on the bundled model's logits at temperature 2",
    bound="<= 4 ulp in float32",
    unit="ulp",
)
def logsumexp_accuracy() -> Outcome:
    from checkpoint_lens import reference_model, reference_text

    torch = _module("torch")
    rng = np.random.default_rng(0)
    tails = np.zeros((60, 5), dtype=np.float32)
    tails[:, 1:] = -np.linspace(1, 100, 60)[:, None] - rng.random((60, 4))
    rows = [tails, *((scale * rng.standard_normal((4, 30_000))).astype(np.float32) for scale in (1, 10))]
    model = reference_model()
    tokens = model.tokenizer.encode(reference_text("in-domain")[:2000])[:128]
    with torch.no_grad():
        logits = model(torch.tensor([tokens]))[0].float().numpy() / np.float32(2.0)
    worst = 0.0
    for x in [*rows, logits]:
        total, logs = _log_softmax(x)
        worst = max(worst, float(error_ulp(stable_ops.logsumexp(x), total).max()))
        worst = max(worst, float(error_ulp(stable_ops.log_softmax(x), logs).max()))
    span = f"logits / 2 of {len(tokens)} tokens range from {logits.min():.2f} to {logits.max():.2f}"
    return Outcome(worst, worst <= 4, span)


def _log_softmax(x: NDArray[Any]) -> tuple[Float64, Float64]:
    """Sorted rows, the largest outside the sum, the sum exact."""
    wide = np.sort(x.astype(np.float64), axis=-1)
    top = wide[:, -1:]
    log = np.log1p(np.array([[math.fsum(row)] for row in np.exp(wide[:, :-1] - top)]))
    return (top + log)[:, 0], (x.astype(np.float64) - top) - log


@check(
    "w17-optimizers",
    title="SGD (momentum, Nesterov, weight decay), Adam and AdamW against torch.optim, 200 steps in float64",
    bound="relative 1e-12",
    unit="relative difference",
)
def optimizers() -> Outcome:
    torch = _module("torch")
    settings: list[tuple[str, dict[str, Any]]] = [
        ("SGD", {"lr": 0.01}),
        ("SGD", {"lr": 0.01, "momentum": 0.9}),
        ("SGD", {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 0.05}),
        ("Adam", {"lr": 0.02}),
        ("Adam", {"lr": 0.02, "betas": (0.8, 0.95), "weight_decay": 0.1}),
        ("AdamW", {"lr": 0.02, "weight_decay": 0.3}),
    ]
    differences = [_optimizer_difference(torch, name, options) for name, options in settings]
    return Outcome(max(differences), max(differences) < 1e-12, f"{len(settings)} settings, a noisy quartic")


def _optimizer_difference(torch: Any, name: str, options: dict[str, Any]) -> float:
    rng = np.random.default_rng(0)
    values = [rng.standard_normal((6, 5))]
    tensor = torch.tensor(values[0], dtype=torch.float64, requires_grad=True)
    ours, theirs = getattr(stable_ops, name)(**options), getattr(torch.optim, name)([tensor], **options)
    worst = 0.0
    for _ in range(200):
        gradient = values[0] ** 3 - values[0] + 0.1 * rng.standard_normal(values[0].shape)
        tensor.grad = torch.from_numpy(gradient)
        theirs.step()
        values = ours.step(values, [gradient])
        worst = max(worst, _relative(values[0], tensor.detach().numpy()))
    return worst


@check(
    "w19-ops",
    title="Softmax, LayerNorm, RMSNorm, GELU, SwiGLU: float32 against the oracle, fp16 against fp32",
    bound="< 1e-5 abs in float32; < 0.1 % relative in fp16 where the output is a normal number",
    unit="abs error (float32), relative difference (fp16)",
)
def operators() -> Outcome:
    rng = np.random.default_rng(0)
    half = [(2 * rng.standard_normal((64, 1024))).astype(np.float16) for _ in range(2)]
    weight, bias = (rng.standard_normal(1024).astype(np.float16) for _ in range(2))
    calls: dict[str, tuple[Callable[..., Any], Callable[..., Float64], list[Any]]] = {
        "softmax": (stable_ops.softmax, _softmax, [half[0]]),
        "layer_norm": (
            stable_ops.layer_norm,
            lambda x, w, b: _layer_norm(x) * w + b,
            [half[0], weight, bias],
        ),
        "rms_norm": (stable_ops.rms_norm, lambda x, w: _rms_norm(x) * w, [half[0], weight]),
        "gelu": (stable_ops.gelu, lambda x: np.vectorize(_gelu)(x), [half[0]]),
        "swiglu": (stable_ops.swiglu, lambda g, u: g / (1 + np.exp(-g)) * u, half),
    }
    absolute, relative = {}, {}
    for name, (ours, oracle, arguments) in calls.items():
        single = [a.astype(np.float32) for a in arguments]
        truth = oracle(*(a.astype(np.float64) for a in arguments))
        in_single = ours(*single).astype(np.float64)
        absolute[name] = float(np.max(np.abs(in_single - truth)))
        normal = np.abs(in_single) >= FORMATS["fp16"].min_normal
        relative[name] = _relative(ours(*arguments)[normal], in_single[normal])
    passed = max(absolute.values()) < 1e-5 and max(relative.values()) < 1e-3
    measured = {"float32": max(absolute.values()), "fp16": max(relative.values())}
    detail = ", ".join(f"{name} {absolute[name]:.1e} / {relative[name]:.2%}" for name in calls)
    return Outcome(dict(measured), passed, detail)


def _rms_norm(x: NDArray[Any]) -> Float64:
    return np.asarray(x / np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + 1e-6))


def _gelu(x: float) -> float:
    return 0.5 * x * math.erfc(-x / math.sqrt(2))


@check(
    "w29-sampling",
    title="Top-k and top-p: support against rational arithmetic, ties included; 1,000,000 draws by G-test",
    bound="support exact; p > 1e-6",
    unit="rows with another support; least p-value",
)
def sampling() -> Outcome:
    stats = _module("scipy.stats")
    rng = np.random.default_rng(0)
    wrong, rows = 0, 0
    for n in (1, 10, 1000, 5000):
        for p in (0.1, 0.5, 0.9, 1.0):
            drawn = stable_ops.softmax((3 * rng.standard_normal(n)).astype(np.float32))
            for row in (drawn, np.full(n, 1 / n), rng.integers(1, 4, n) / (3.0 * n)):
                wrong += int(stable_ops.nucleus(row, p).tolist() != _nucleus(row, p))
                rows += 1
    logits = np.round(2 * rng.standard_normal(60), 1)  # ties
    weights = np.exp(logits - logits.max())
    first = np.argsort(-logits, kind="stable")[:20]
    kept = {"top_k": np.isin(np.arange(60), first), "top_p": np.array(_nucleus(weights, 0.9))}
    draws = {
        "top_k": stable_ops.top_k_sample(logits, 20, seed=1, size=1_000_000),
        "top_p": stable_ops.top_p_sample(logits, 0.9, seed=2, size=1_000_000),
    }
    p_values = {name: _g_test(stats, draws[name], np.where(kept[name], weights, 0.0)) for name in draws}
    passed = wrong == 0 and min(p_values.values()) > 1e-6
    detail = f"{rows} rows; " + ", ".join(f"{name} p = {value:.3g}" for name, value in p_values.items())
    return Outcome({"wrong": wrong, "p": min(p_values.values())}, passed, detail)


def _nucleus(probabilities: NDArray[Any], p: float) -> list[bool]:
    """The definition, one rational number at a time."""
    exact = [Fraction(float(v)) for v in probabilities]
    needed, total, kept = Fraction(p) * sum(exact), Fraction(0), [False] * len(exact)
    for i in sorted(range(len(exact)), key=lambda i: (-exact[i], i)):
        if total >= needed:
            break
        kept[i], total = True, total + exact[i]
    return kept


def _g_test(stats: Any, draws: NDArray[np.int64], weights: Float64) -> float:
    """Probability of a deviation at least this large; 0 for a draw that has no weight."""
    counts = np.bincount(draws, minlength=weights.size)
    if counts[weights == 0].any():
        return 0.0
    seen = counts > 0
    expected = draws.size * weights / weights.sum()
    statistic = 2 * np.sum(counts[seen] * np.log(counts[seen] / expected[seen]))
    return float(stats.chi2.sf(statistic, int((weights > 0).sum()) - 1))
