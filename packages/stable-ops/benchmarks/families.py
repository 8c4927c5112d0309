"""Measured error of norms, factorisations, eigenvalues, sums, sampling and optimizers.

Each line has a quantity, what ours gave, the a-priori bound where there is one, and the usual way beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pitfalls
import torch

import stable_ops
from stable_ops import fp
from stable_ops.testing import error_ulp

U = 2.0**-53


@dataclass(frozen=True)
class Measured:
    """One quantity.

    Attributes
    ----------
    family, function, inputs, quantity : str
        What was measured, of what, on what.
    ours : float
    bound : float or None
        The a-priori bound on it; None where theory gives none.
    usual : str
        The way it is compared with.
    usual_value : float or None
    """

    family: str
    function: str
    inputs: str
    quantity: str
    ours: float
    bound: float | None
    usual: str = ""
    usual_value: float | None = None

    @property
    def of_bound(self) -> float | None:
        return None if not self.bound else self.ours / self.bound


def measure() -> list[dict[str, Any]]:
    """Every line, in the order of the page."""
    sources = (
        attention, online, vector_norms, matrix_norms, certified_norms, factorisations, least_squares,
        eigenvalues, drifts, sums, formats, samples, optimizers,
    )  # fmt: skip
    return [{**asdict(line), "of_bound": line.of_bound} for source in sources for line in source()]


def vector_norms() -> Iterator[Measured]:
    rng = np.random.default_rng(0)
    drawn = {
        "normal, n = 65,536": rng.standard_normal((4, 65_536)),
        "2^-60 to 2^60": np.ldexp(rng.standard_normal((64, 1024)), rng.integers(-60, 61, (64, 1024))),
        "1e20, 1": np.array([[1e20, 1.0]]),
        "1e-30, 1e-30": np.array([[1e-30, 1e-30]]),
    }
    for inputs, values in drawn.items():
        x = values.astype(np.float32)
        for p in (1.0, 2.0, 3.0, math.inf):
            wide = np.abs(x).astype(np.longdouble)
            exact = wide.max(-1) if p == math.inf else (wide**p).sum(-1) ** (1 / np.longdouble(p))
            with np.errstate(all="ignore"):
                theirs = np.linalg.norm(x, ord=p, axis=-1)
            yield Measured(
                "linear-algebra", f"vector_norm, p = {p:g}", f"float32, {inputs}", "ulp",
                float(error_ulp(stable_ops.vector_norm(x, p), exact).max()),
                0.5 + (0 if p == math.inf else (p + 4 + math.log2(x.shape[-1])) * 2.0**-29),
                "numpy.linalg.norm", float(error_ulp(theirs, exact).max()),
            )  # fmt: skip


def matrix_norms() -> Iterator[Measured]:
    rng = np.random.default_rng(1)
    Q, _ = np.linalg.qr(rng.standard_normal((40, 40)))
    drawn = {
        "normal 60 x 40": rng.standard_normal((60, 40)),
        "orthogonal 40 x 40, all singular values equal": Q,
        "rank 1": np.outer(rng.standard_normal(50), rng.standard_normal(30)),
    }
    for inputs, A in drawn.items():
        for kind, exact, bound in (
            ("fro", math.sqrt(float(np.square(A.astype(np.longdouble)).sum())), (6 + math.log2(A.size)) * U),
            # The residual bounds the error of the square of the norm.
            ("op", float(np.linalg.svd(A, compute_uv=False)[0]), 1e-9 / 2),
        ):
            found = float(stable_ops.matrix_norm(A, kind))
            yield Measured(
                "linear-algebra",
                f"matrix_norm, {kind}",
                inputs,
                "relative error",
                abs(found - exact) / exact,
                bound,
            )


def certified_norms() -> Iterator[Measured]:
    """The distance from LAPACK's value, and the width of the interval that is proven to hold the norm."""
    A = np.random.default_rng(10).standard_normal((60, 40))
    found = stable_ops.operator_norm(A)
    exact = float(np.linalg.svd(A, compute_uv=False)[0])
    assert found.lower <= exact <= found.upper
    yield Measured(
        "linear-algebra", "operator_norm", "normal 60 x 40", "absolute error", abs(found.value - exact),
        found.upper - found.lower,
    )  # fmt: skip


def drifts() -> Iterator[Measured]:
    """The true change, by factorising A + E, against the prediction and its own remainder."""
    rng = np.random.default_rng(11)
    A, E = rng.standard_normal((30, 20)), 1e-4 * rng.standard_normal((30, 20))
    drift = stable_ops.singular_value_drift(A, E)
    off = np.abs(np.linalg.svd(A + E, compute_uv=False) - drift.values - drift.change)
    worst = int(np.argmax(off / drift.remainder))
    yield Measured(
        "linear-algebra", "singular_value_drift", "30 x 20, change of 1e-4", "error of the predicted change",
        float(off[worst]), float(drift.remainder[worst]), "no prediction", float(np.abs(drift.change).max()),
    )  # fmt: skip
    B = np.diag(np.arange(1.0, 13.0)) + 0.1 * rng.standard_normal((12, 12))
    change = 1e-5 * rng.standard_normal((12, 12))
    drift = stable_ops.eigenvalue_drift(B, change)
    moved = np.linalg.eigvals(B + change)
    off = np.array([np.abs(moved - value).min() for value in drift.values + drift.change])
    # The second-order term is the size of what is left out, not a bound.
    yield Measured(
        "linear-algebra", "eigenvalue_drift", "12 x 12, change of 1e-5", "error of the predicted change",
        float(off.max()), None, "no prediction", float(np.abs(drift.change).max()),
    )  # fmt: skip


def factorisations() -> Iterator[Measured]:
    A = pitfalls.conditioned(1e6)
    eps = float(np.finfo(np.float32).eps)
    size = max(A.shape) * eps
    for name, factorise in (
        ("gram_schmidt, classical", lambda A: stable_ops.gram_schmidt(A, variant="classical")),
        ("gram_schmidt, modified", lambda A: stable_ops.gram_schmidt(A)),
        ("householder_qr", stable_ops.householder_qr),
    ):
        Q, R = (M.astype(np.float64) for M in factorise(A))
        lapack, _ = np.linalg.qr(A)
        lost = pitfalls.orthogonality(Q.astype(np.float32))
        bounds = {
            "gram_schmidt, classical": None,
            "gram_schmidt, modified": 1e6 * size,
            "householder_qr": 30 * size,
        }
        yield Measured(
            "linear-algebra", name, "float32, 200 x 100, condition 1e6", "norm of I - Q'Q", lost,
            bounds[name], "LAPACK", pitfalls.orthogonality(lapack),
        )  # fmt: skip
        backward = np.linalg.norm(A - Q @ R, 1) / (size * np.linalg.norm(A.astype(np.float64), 1))
        yield Measured(
            "linear-algebra", name, "float32, 200 x 100, condition 1e6", "backward error, LAPACK's ratio",
            float(backward), 30.0,
        )  # fmt: skip


def least_squares() -> Iterator[Measured]:
    rng = np.random.default_rng(2)
    deficient = (rng.standard_normal((60, 5)) @ rng.standard_normal((5, 20))).astype(np.float32)
    drawn = {
        "200 x 100, condition 1e6": pitfalls.conditioned(1e6),
        "60 x 20, rank 5": deficient,
        "20 x 60": rng.standard_normal((20, 60)).astype(np.float32),
        "columns graded to 1e-12": (rng.standard_normal((50, 20)) * np.geomspace(1, 1e-12, 20)).astype(
            np.float32
        ),
    }
    for inputs, A in drawn.items():
        b = rng.standard_normal(len(A)).astype(np.float32)
        wide = A.astype(np.float64)

        def ratio(x: Any, wide: Any = wide, b: Any = b) -> float:
            """LAPACK's dqrt17: the residual's part along A, zero for the true solution."""
            r = b - wide @ x.astype(np.float64)
            scale = np.linalg.norm(wide, 1) * np.linalg.norm(b) * max(wide.shape) * np.finfo(np.float32).eps
            return float(np.linalg.norm(wide.T @ r, np.inf) / scale)

        usual = np.linalg.pinv(A.T @ A) @ (A.T @ b)
        yield Measured(
            "linear-algebra", "lstsq_qr", f"float32, {inputs}", "normal residual, LAPACK's ratio",
            ratio(stable_ops.lstsq_qr(A, b)), 30.0, "pinv of the normal equations", ratio(usual),
        )  # fmt: skip


def eigenvalues() -> Iterator[Measured]:
    rng = np.random.default_rng(3)
    A = rng.standard_normal((50, 50))
    A = A + A.T
    exact = np.linalg.eigvalsh(A)
    largest = exact[np.argmax(np.abs(exact))]
    nearest = exact[np.argmin(np.abs(exact - 1.0))]
    for name, result, truth in (
        ("power_iteration", stable_ops.power_iteration(A), largest),
        ("inverse_iteration", stable_ops.inverse_iteration(A, shift=1.0), nearest),
    ):
        rounding = 10 * U * float(np.linalg.norm(A))
        yield Measured(
            "linear-algebra", name, "symmetric 50 x 50", "absolute error",
            abs(complex(result.value).real - truth), result.residual + rounding,
        )  # fmt: skip
    result = stable_ops.rayleigh_iteration(A)
    closest = exact[np.argmin(np.abs(exact - complex(result.value).real))]
    yield Measured(
        "linear-algebra", "rayleigh_iteration", "symmetric 50 x 50", "absolute error",
        abs(complex(result.value).real - closest), result.residual + 10 * U * float(np.linalg.norm(A)),
    )  # fmt: skip
    yield condition_of_grcar()


def condition_of_grcar() -> Measured:
    """Conditions of the Grcar matrix, 20 x 20, against the definition in 60 digits."""
    import mpmath

    n = 20
    A = np.eye(n) - np.eye(n, k=-1) + sum(np.eye(n, k=k) for k in (1, 2, 3))
    found = stable_ops.eigenvalue_condition(A)
    with mpmath.workdps(60):
        values, left, right = mpmath.eig(mpmath.matrix(A.tolist()), left=True, right=True)
        worst = 0.0
        for i, value in enumerate(values):
            x, y = right[:, i], left[i, :]
            inner = abs(sum(y[j] * x[j] for j in range(n)))
            exact = mpmath.norm(x) * mpmath.norm(y.T) / inner
            j = int(np.argmin(np.abs(found.values - complex(value))))
            worst = max(worst, abs(float((found.conditions[j] - exact) / exact)))
    return Measured(
        "linear-algebra", "eigenvalue_condition", "Grcar 20 x 20", "relative error", worst,
        float(found.conditions.max()) * n * 10 * U,
    )  # fmt: skip


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
