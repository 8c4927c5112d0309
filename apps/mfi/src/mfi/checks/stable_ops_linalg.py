"""Rows of stable-ops: norms, factorisations, eigenvalues."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

import stable_ops
from mfi.checks import Outcome, check
from stable_ops.linalg import rayleigh_iteration
from stable_ops.testing import error_ulp

Float64 = NDArray[np.float64]


def _relative(ours: Any, truth: Any) -> float:
    return float(np.max(np.abs(np.asarray(ours, dtype=np.float64) / np.asarray(truth, dtype=np.float64) - 1)))


@check(
    "w01-vector-norm",
    title="L1, L2, Linf and general p norms, random and extreme, against the exact value",
    bound="relative error < 1e-6 (fp16: 1 ulp), never inf or 0 where the true norm is representable",
    unit="relative error",
)
def vector_norms() -> Outcome:
    rng = np.random.default_rng(0)
    pairs = ([1e20, 1.0], [1e-30, 1e-30], [3e37, 4e37], [1e-44, 1e-44], [600.0, 800.0])
    vectors = [rng.standard_normal(n) * scale for n in (1, 7, 1000) for scale in (1e-3, 1.0, 1e3)]
    worst, worst_ulp, degenerate, compared = 0.0, 0.0, 0, 0
    for x in [*vectors, *(np.array(pair) for pair in pairs)]:
        for dtype in (np.float64, np.float32, np.float16):
            with np.errstate(over="ignore", under="ignore"):
                stored = x.astype(dtype)
            if not np.isfinite(stored).all():
                continue
            info = np.finfo(dtype)
            for p in (1, 2, 3, 7.5, math.inf):
                truth = _exact_norm(stored, p)
                if not float(info.smallest_subnormal) <= truth <= float(info.max):
                    continue  # the stored vector is zero, or its norm beyond the format
                norm = stable_ops.vector_norm(stored, p)
                compared += 1
                degenerate += int(norm == 0 or not np.isfinite(norm))
                # Among subnormal numbers a relative error means nothing: half an ulp is the nearest there is.
                if dtype == np.float16 or truth < float(info.tiny):
                    worst_ulp = max(worst_ulp, float(error_ulp(norm, truth)))
                else:
                    worst = max(worst, _relative(norm, truth))
    return Outcome(
        measured={"relative_error": worst, "fp16_ulp": worst_ulp, "degenerate": degenerate},
        passed=worst < 1e-6 and worst_ulp <= 1 and degenerate == 0,
        detail=f"{compared} norms, p = 1, 2, 3, 7.5, inf; subnormal ones judged in ulp, with those of fp16",
    )


def _exact_norm(x: NDArray[Any], p: float) -> float:
    """The norm of the stored numbers: rational for 1, 2 and inf, else an exact sum of scaled powers."""
    values = [abs(Fraction(float(v))) for v in x]
    largest = max(values)
    if p == 1:
        return float(sum(values))
    if p == math.inf or largest == 0:
        return float(largest)
    if p == 2:
        square = sum((v * v for v in values), Fraction(0))
        # 200 bits more than float64 needs, by an integer square root.
        root = math.isqrt(square.numerator * square.denominator << 400)
        return float(Fraction(root, square.denominator << 200))
    total = math.fsum(float(v / largest) ** p for v in values)
    return float(largest) * float(total ** (1 / p))


@check(
    "w01-matrix-norm",
    title="Frobenius and operator norm of random matrices and of the bundled model's layers against LAPACK",
    bound="relative error < 1e-6",
    unit="relative error",
)
def matrix_norms() -> Outcome:
    from checkpoint_lens import open_checkpoint

    rng = np.random.default_rng(0)
    matrices = [rng.standard_normal(shape) for shape in ((1, 1), (30, 50), (300, 100), (256, 256))]
    checkpoint = open_checkpoint("reference")
    layers = checkpoint.linear_layers()[:4]
    matrices += [np.asarray(checkpoint[layer.tensor], dtype=np.float64) for layer in layers]
    errors = [_relative(stable_ops.matrix_norm(A, "fro"), np.linalg.norm(A)) for A in matrices]
    errors += [_relative(stable_ops.matrix_norm(A, "op"), np.linalg.norm(A, 2)) for A in matrices]
    names = ", ".join(layer.name for layer in layers)
    return Outcome(max(errors), max(errors) < 1e-6, f"4 random matrices and {names}")


@check(
    "w04-qr",
    title="Orthogonality lost by three QRs at condition 1e6 in float32, least squares by Householder",
    bound="classical > 0.1; Householder < 1e-4 and <= modified / 10; backward error < 30 (LAPACK ratio)",
    unit="Frobenius norm of I - Q'Q",
)
def three_qrs() -> Outcome:
    rng = np.random.default_rng(0)
    m, n = 200, 100
    left, right = (np.linalg.qr(rng.standard_normal((k, n)))[0] for k in (m, n))
    A = ((left * np.geomspace(1, 1e-6, n)) @ right.T).astype(np.float32)
    factors = {
        "classical": stable_ops.gram_schmidt(A, variant="classical"),
        "modified": stable_ops.gram_schmidt(A, variant="modified"),
        "householder": stable_ops.householder_qr(A),
    }
    lost = {name: _orthogonality(Q) for name, (Q, _) in factors.items()}
    b = rng.standard_normal(m).astype(np.float32)
    backward = {"qr": _factor_ratio(A, *factors["householder"]), "lstsq": _lstsq_ratio(A, b)}
    passed = (
        lost["classical"] > 0.1
        and lost["householder"] < 1e-4
        and lost["householder"] <= lost["modified"] / 10
        and max(backward.values()) < 30
    )
    ratios = ", ".join(f"{name} {ratio:.2g}" for name, ratio in backward.items())
    return Outcome(lost, passed, f"backward error in LAPACK's ratio: {ratios}")


def _orthogonality(Q: NDArray[Any]) -> float:
    wide = Q.astype(np.float64)
    return float(np.linalg.norm(np.eye(wide.shape[1]) - wide.T @ wide))


def _factor_ratio(A: NDArray[Any], Q: NDArray[Any], R: NDArray[Any]) -> float:
    eps = float(np.finfo(A.dtype).eps)
    wide = A.astype(np.float64)
    error = np.linalg.norm(wide - Q.astype(np.float64) @ R.astype(np.float64), 1)
    return float(error / (max(A.shape) * eps * np.linalg.norm(wide, 1)))


def _lstsq_ratio(A: NDArray[Any], b: NDArray[Any]) -> float:
    """LAPACK's dqrt17: how far the residual is from orthogonal to the columns, over size and eps."""
    wide, right = A.astype(np.float64), b.astype(np.float64)
    residual = right - wide @ stable_ops.lstsq_qr(A, b).astype(np.float64)
    scale = np.linalg.norm(wide, 1) * np.linalg.norm(residual, 1)
    return float(np.linalg.norm(wide.T @ residual, 1) / (scale * max(A.shape) * np.finfo(A.dtype).eps))


@check(
    "w05-power",
    title="Power, inverse and Rayleigh-quotient iteration against LAPACK",
    bound="relative error < 1e-6, iterations reported; a pair of equal moduli is reported",
    unit="relative error",
)
def power_iterations() -> Outcome:
    rng = np.random.default_rng(0)
    B = rng.standard_normal((40, 40))
    symmetric, general = B + B.T, np.abs(B)
    values = np.linalg.eigvalsh(symmetric)
    largest = values[np.argmax(np.abs(values))]
    shift = float(values[7] + 0.2 * (values[8] - values[7]))
    dominant = max(np.linalg.eigvals(general), key=abs).real
    runs = {
        "power": (stable_ops.power_iteration(symmetric), largest),
        "power, not symmetric": (stable_ops.power_iteration(general), dominant),
        "inverse": (stable_ops.inverse_iteration(symmetric, shift), values[7]),
    }
    rayleigh = rayleigh_iteration(symmetric)
    runs["rayleigh"] = (rayleigh, values[np.argmin(np.abs(values - rayleigh.value))])
    errors = {name: _relative(result.value, truth) for name, (result, truth) in runs.items()}
    pairs = [np.diag([3.0, -3.0, 1.0]), np.diag([3.0, 3.0, 1.0]), np.array([[0.0, -3.0], [3.0, 0.0]])]
    reported = [stable_ops.power_iteration(A).equal_moduli for A in pairs]
    honest = all(pair is not None and np.allclose(np.abs(pair), 3.0) for pair in reported)
    steps = ", ".join(f"{name} {result.iterations}" for name, (result, _) in runs.items())
    done = all(result.converged for result, _ in runs.values())
    passed = done and honest and max(errors.values()) < 1e-6
    return Outcome(errors, passed, f"iterations: {steps}; equal moduli: {reported}")


@check(
    "w07-eigen-condition",
    title="Eigenvalue condition numbers of Wilkinson and Grcar matrices against 1/|y'x|",
    bound="relative error < 1e-6",
    unit="relative error",
)
def eigenvalue_conditions() -> Outcome:
    n = 20
    wilkinson = np.diag(np.arange(n, 0.0, -1)) + n * np.eye(n, k=1)
    grcar = sum((np.eye(12, k=k) for k in range(4)), -np.eye(12, k=-1))
    ours = stable_ops.eigenvalue_condition(wilkinson)
    order = np.argsort(-ours.values.real)
    exact = np.array([_bidiagonal_condition(n, i) for i in range(n)])
    errors = {"wilkinson": _relative(ours.conditions[order], exact)}
    ours = stable_ops.eigenvalue_condition(grcar)
    null = np.array([_null_vector_condition(grcar, value) for value in ours.values])
    errors["grcar"] = _relative(ours.conditions, null)
    detail = f"conditions up to {exact.max():.3g} (Wilkinson {n}) and {null.max():.3g} (Grcar 12)"
    return Outcome(errors, max(errors.values()) < 1e-6, detail)


def _bidiagonal_condition(n: int, i: int) -> float:
    """1/|y'x| of Wilkinson's bidiagonal matrix, its vectors by back substitution in rational numbers.

    (A - (n - i)) x = 0 gives x[k] (i - k) + n x[k + 1] = 0 above i, and likewise for y below i; the only
    common entry is the i-th, which is 1 in both.
    """
    x, y = [Fraction(1)], [Fraction(1)]
    for k in range(i - 1, -1, -1):
        x.append(-n * x[-1] / (i - k))
    for k in range(i + 1, n):
        y.append(-n * y[-1] / (i - k))
    return math.sqrt(sum(v * v for v in x)) * math.sqrt(sum(v * v for v in y))


def _null_vector_condition(A: Float64, value: complex) -> float:
    """Left and right vectors as the singular vectors of A - value I for its least singular value."""
    left, _, right = np.linalg.svd(A - value * np.eye(A.shape[0]))
    return float(1 / np.abs(left[:, -1].conj() @ right[-1].conj()))
