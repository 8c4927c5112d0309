"""Measured error of softmax in blocks, linear algebra, sums, formats, sampling and optimizers.

Each line has a quantity, what ours gave, the a-priori bound where there is one, and the usual way beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from fractions import Fraction
from typing import Any

import linear_algebra as la
import numpy as np
import pitfalls
import torch
from measured import Measured, U

import stable_ops
from stable_ops import fp
from stable_ops.testing import error_ulp


def measure() -> list[dict[str, Any]]:
    """Every line, in the order of the page."""
    sources = (
        attention, online, la.vector_norms, la.matrix_norms, la.certified_norms, la.factorisations,
        la.least_squares, la.eigenvalues, la.drifts, sums, dots, formats, blocks, samples, optimizers,
    )  # fmt: skip
    return [{**asdict(line), "of_bound": line.of_bound} for source in sources for line in source()]


def sums() -> Iterator[Measured]:
    x = fp.round_to(np.random.default_rng(4).uniform(0, 1, 4096), "fp16")
    total = float(sum(Fraction(float(v)) for v in x))
    size = float(np.abs(x).sum())
    u = 2.0**-11
    for order, factor in (
        ("sequential", 4095.0),
        ("pairwise", 12.0),
        ("blocked", 31.0 + 7.0),
        ("kahan", 2.0),
    ):
        found = fp.accumulate(x, format="fp16", order=order)  # type: ignore[arg-type]
        yield Measured(
            "formats", f"accumulate, {order}", "4096 values in [0, 1], fp16", "absolute error",
            abs(found.sum - total), factor * u * size,
        )  # fmt: skip
    drawn = [fp.round_to(np.random.default_rng(s).standard_normal(4096), "fp16") for s in range(20, 40)]
    for order in ("sequential", "pairwise"):
        options: dict[str, Any] = {"format": "fp16", "order": order}
        actual = [fp.accumulate(y, **options).sum - float(y.sum()) for y in drawn]
        predicted = [fp.predict_sum_error(y, **options) for y in drawn]
        yield Measured(
            "formats", f"predict_sum_error, {order}", "20 sums of 4096 normal values, fp16",
            "root mean square error over the predicted", _rms(actual) / _rms(predicted), None,
        )  # fmt: skip


def dots() -> Iterator[Measured]:
    """Products enter the running sum exactly; each sum is rounded once, and the result to fp16."""
    rng = np.random.default_rng(13)
    a, b = (fp.round_to(rng.standard_normal(4096), "fp16") for _ in range(2))
    exact = float(sum(Fraction(float(x)) * Fraction(float(y)) for x, y in zip(a, b, strict=True)))
    size = float(np.abs(a * b).sum())
    for accumulator, unit in (("fp16", 2.0**-11), ("fp32", 2.0**-24)):
        found = fp.accumulate_dot(a, b, format="fp16", accumulator=accumulator)
        bound = 4096 * unit * size + 2.0**-11 * abs(exact)
        yield Measured(
            "formats", f"accumulate_dot, {accumulator} inside", "4096 normal products, fp16",
            "absolute error", abs(found.sum - exact), bound,
        )  # fmt: skip


def _rms(values: list[float]) -> float:
    return math.sqrt(sum(v * v for v in values) / len(values))


def formats() -> Iterator[Measured]:
    import ml_dtypes

    x = np.random.default_rng(5).standard_normal(200_000).astype(np.float32) * np.float32(8)
    for name, dtype in (
        ("bf16", ml_dtypes.bfloat16), ("fp8_e4m3fn", ml_dtypes.float8_e4m3fn),
        ("fp8_e5m2", ml_dtypes.float8_e5m2), ("fp4_e2m1", ml_dtypes.float4_e2m1fn),
    ):  # fmt: skip
        theirs = x.astype(dtype).astype(np.float64)
        other = int((~((fp.round_to(x, name) == theirs) | np.isnan(theirs))).sum())
        yield Measured(
            "formats", f"round_to, {name}", "200,000 float32 numbers", "other than ml_dtypes", other, None
        )


def blocks() -> Iterator[Measured]:
    """Beside the largest of its block a number is off by what saturates, or by half a step there."""
    x = np.random.default_rng(14).standard_normal((64, 1024)).astype(np.float32)
    for name in ("mxfp8_e4m3", "mxfp6_e2m3", "mxfp4_e2m1", "nvfp4"):
        known = fp.get_block_format(name)
        largest = np.abs(x).reshape(64, -1, known.block).max(-1).repeat(known.block, axis=-1)
        error = np.abs(np.asarray(fp.round_to_blocks(x, name).values) - x) / largest
        half = known.element.eps / 2
        saturated = 1 - known.element.max / 2.0 ** math.ceil(math.log2(known.element.max))
        # The scale of NVFP4 is rounded too, and a block's largest number may fall on either side of 6.
        bound = None if name == "nvfp4" else max(saturated, half / (1 + half))
        yield Measured(
            "formats", f"round_to_blocks, {name}", "65,536 normal float32 numbers",
            "error over the largest of the block", float(error.max()), bound,
        )  # fmt: skip


def attention() -> Iterator[Measured]:
    """Against the whole row in long double; the usual way rounds scores and probabilities to float16."""
    rng = np.random.default_rng(9)
    q, k, v = (rng.standard_normal((2, 128, 64)).astype(np.float16) for _ in range(3))
    wide = [a.astype(np.longdouble) for a in (q, k, v)]
    scores = np.einsum("hid,hjd->hij", wide[0], wide[1]) / 8
    scores = np.where(np.tri(128, dtype=bool), scores, -np.inf)
    terms = np.exp(scores - scores.max(-1, keepdims=True))
    exact = np.einsum("hij,hje->hie", terms, wide[2]) / terms.sum(-1)[..., None]
    tensors = [torch.from_numpy(a) for a in (q, k, v)]
    usual = torch.nn.functional.scaled_dot_product_attention(*tensors, is_causal=True).numpy()
    # (2 d S + n) 2^-53 sum p|v| before the rounding, which is nothing beside 0.5 ulp of float16.
    yield Measured(
        "softmax", "attention", "float16, causal, 2 x 128 x 64", "ulp, at least that of 1/16",
        float(error_ulp(stable_ops.attention(q, k, v, causal=True), exact, floor=1 / 16).max()),
        0.5 + 2.0**-20,
        "torch", float(error_ulp(usual, exact, floor=1 / 16).max()),
    )  # fmt: skip


def online() -> Iterator[Measured]:
    """Rows of 4,096 in blocks of 16, in rising order, where each block moves the maximum."""
    x = np.sort(5 * np.random.default_rng(6).standard_normal((64, 4096)), axis=-1).astype(np.float16)
    blocks = np.split(x, 256, axis=-1)
    whole = stable_ops.softmax(x)
    state = stable_ops.OnlineSoftmax((64,))
    for block in blocks:
        state.update(block)
    ours = np.concatenate([state.probabilities(block) for block in blocks], axis=-1)
    peak, total = np.full(64, -np.inf, np.float32), np.zeros(64, np.float32)
    for block in blocks:
        new = np.maximum(peak, block.max(-1).astype(np.float32))
        terms = np.exp(block.astype(np.float32) - new[:, None])
        total, peak = total * np.exp(peak - new) + terms.sum(-1), new
    usual = (np.exp(x.astype(np.float32) - peak[:, None]) / total[:, None]).astype(np.float16)
    yield Measured(
        "softmax", "OnlineSoftmax", "float16, 64 rows in 256 rising blocks",
        "outputs with other bits than softmax", float((ours != whole).sum()), None,
        "float32 state", float((usual != whole).sum()),
    )  # fmt: skip


def samples() -> Iterator[Measured]:
    logits = np.random.default_rng(7).standard_normal((8, 128_256)).astype(np.float32)
    p = stable_ops.softmax(logits)
    yield Measured(
        "sampling", "nucleus", "8 rows of 128,256 float32 probabilities", "tokens off the exact set",
        pitfalls.nucleus_off(stable_ops.nucleus(p, 0.9).sum(-1), p), None,
        "float32 sum", pitfalls.nucleus_off(pitfalls.float32_nucleus(p, 0.9), p),
    )  # fmt: skip
    row = np.array([0.0, 1.0, 2.0, 3.0, 2.0])
    kept = np.array([False, True, True, True, True])
    for name, draw in (
        ("sample", lambda: stable_ops.sample(row, top_k=4, top_p=0.99, min_p=0.01, size=200_000)),
        ("top_k_sample", lambda: stable_ops.top_k_sample(row, 4, size=200_000)),
        ("top_p_sample", lambda: stable_ops.top_p_sample(row, 0.96, size=200_000)),
        ("min_p_sample", lambda: stable_ops.min_p_sample(row, 0.1, size=200_000)),
    ):
        draws = np.bincount(draw(), minlength=5)
        assert not draws[~kept].any()
        expected = 200_000 * np.exp(row[kept]) / np.exp(row[kept]).sum()
        g = 2 * float(np.sum(draws[kept] * np.log(draws[kept] / expected)))
        # Exceeded once in a million runs.
        yield Measured(
            "sampling", name, "200,000 draws from 4 of 5 tokens", "G statistic, 3 degrees of freedom", g, 30.7
        )
    for report in stable_ops.truncation_report(logits[0], top_p=0.9):
        weights = np.exp(logits[0][report.tokens].astype(np.longdouble))
        shares = weights / weights.sum()
        exact = float(-(shares * np.log(shares)).sum())
        yield Measured(
            "sampling", "truncation_report", "128,256 logits, p = 0.9", "relative error of the entropy",
            abs(report.entropy_nats - exact) / exact, logits.shape[-1] * U,
        )  # fmt: skip


def optimizers() -> Iterator[Measured]:
    for name, ours, theirs in (
        ("SGD", stable_ops.SGD(lr=0.01, momentum=0.9, nesterov=True),
         lambda w: torch.optim.SGD(w, lr=0.01, momentum=0.9, nesterov=True)),
        ("Adam", stable_ops.Adam(lr=0.02), lambda w: torch.optim.Adam(w, lr=0.02)),
        ("AdamW", stable_ops.AdamW(lr=0.02, weight_decay=0.3),
         lambda w: torch.optim.AdamW(w, lr=0.02, weight_decay=0.3)),
    ):  # fmt: skip
        w = [np.random.default_rng(8).standard_normal(64)]
        tensors = [torch.tensor(w[0].copy(), requires_grad=True)]
        reference = theirs(tensors)
        for step in range(200):
            gradient = w[0] ** 3 - w[0] + 0.1 * np.random.default_rng(step).standard_normal(64)
            tensors[0].grad = torch.from_numpy(gradient)
            reference.step()
            w = ours.step(w, [gradient])
        other = tensors[0].detach().numpy()
        yield Measured(
            "optim", name, "float64, 200 steps", "relative difference from torch.optim",
            float(np.abs(w[0] - other).max() / np.abs(other).max()), 1e-12,
        )  # fmt: skip
    w = fp.round_to(np.random.default_rng(12).uniform(0.5, 2, 10_000), "bf16")
    report = stable_ops.stagnation([w], [np.ones_like(w)], lr=1e-3, format="bf16")
    still = float((fp.round_to(w - 1e-3, "bf16") == w).sum())
    yield Measured(
        "optim", "stagnation", "10,000 bf16 weights, steps of 1e-3", "stuck weights told wrongly",
        abs(report.stuck - still), None,
    )  # fmt: skip
    start = np.linspace(-3, 3, 13)
    found = stable_ops.newton_search(
        lambda x: (np.cosh(x - 1) + x**2, np.sinh(x - 1) + 2 * x, np.cosh(x - 1) + 2), start
    )
    import mpmath

    exact = float(mpmath.findroot(lambda x: mpmath.sinh(x - 1) + 2 * x, 0.3))
    yield Measured(
        "optim", "newton_search", "cosh(x - 1) + x^2 from 13 starts", "absolute error of the minimum",
        float(np.abs(found.x - exact).max()), 1e-8,
    )  # fmt: skip
