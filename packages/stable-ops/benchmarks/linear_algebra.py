"""Measured error of norms, factorisations, least squares, eigenvalues and drift."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pitfalls
from measured import Measured, U

import stable_ops
from stable_ops.testing import error_ulp


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
