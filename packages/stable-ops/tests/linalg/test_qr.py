"""The three QRs and least squares, judged as LAPACK judges its own: residuals below 30 units."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfi_command import BadInput
from stable_ops import gram_schmidt, householder_qr, lstsq_qr
from stable_ops.linalg.comparison import compare_qr, conditioned_matrix

THRESHOLD = 30.0
SHAPES = [(1, 1), (5, 1), (1, 5), (7, 7), (40, 10), (10, 40), (64, 64)]
KINDS = ["random", "graded columns", "graded rows", "rank deficient", "tiny", "huge", "zero column", "zero"]


def matrix(seed: int, shape: tuple[int, int], kind: str, dtype) -> np.ndarray:
    rng = np.random.default_rng(seed)
    A = rng.standard_normal(shape)
    m, n = shape
    if kind == "graded columns":
        A = A * np.geomspace(1, 1e-12, n)
    elif kind == "graded rows":
        A = A * np.geomspace(1, 1e-12, m)[:, None]
    elif kind == "rank deficient":
        A = rng.standard_normal((m, 2)) @ rng.standard_normal((2, n))
    elif kind == "zero column":
        A[:, n // 2] = 0
    scale = {"tiny": 1e-30, "huge": 1e30, "zero": 0.0}.get(kind, 1.0)
    return (A * scale).astype(dtype)


def ratios(A, Q, R) -> tuple[float, float]:
    """LAPACK's dqrt01: backward error and orthogonality over size and eps."""
    eps = float(np.finfo(A.dtype).eps)
    A, Q, R = (M.astype(np.float64) for M in (A, Q, R))
    norm = np.linalg.norm(A, 1) or 1.0
    size = max(A.shape)
    orthogonality = np.linalg.norm(np.eye(Q.shape[1]) - Q.T @ Q, 1)
    return np.linalg.norm(A - Q @ R, 1) / (size * eps * norm), orthogonality / (size * eps)


CASES = (
    st.integers(0, 2**32),
    st.sampled_from(SHAPES),
    st.sampled_from(KINDS),
    st.sampled_from([np.float32, np.float64]),
)


@given(*CASES, st.sampled_from(["reduced", "complete"]))
def test_householder(seed, shape, kind, dtype, mode):
    A = matrix(seed, shape, kind, dtype)
    Q, R = householder_qr(A, mode=mode)
    k = shape[0] if mode == "complete" else min(shape)
    assert Q.shape == (shape[0], k)
    assert R.shape == (k, shape[1])
    assert Q.dtype == R.dtype == dtype
    assert max(ratios(A, Q, R)) < THRESHOLD
    assert not np.tril(R, -1).any()


@given(*CASES[:1], st.sampled_from([s for s in SHAPES if s[0] >= s[1]]), *CASES[2:])
def test_gram_schmidt_gives_the_matrix_back(seed, shape, kind, dtype):
    A = matrix(seed, shape, kind, dtype)
    for variant in ("classical", "modified"):
        Q, R = gram_schmidt(A, variant=variant)
        assert ratios(A, Q, R)[0] < THRESHOLD
        assert not np.tril(R, -1).any()


def test_orthogonality_lost_at_condition_1e6_in_float32():
    lost = {m.name: m.orthogonality for m in compare_qr(condition=1e6, dtype="float32")}
    assert lost["classical"] > 0.1
    assert lost["householder"] < 1e-4
    assert lost["householder"] <= lost["modified"] / 10 < lost["classical"] / 10


def test_modified_loses_in_proportion_to_the_condition():
    lost = [compare_qr(condition=c, dtype="float64")[1].orthogonality for c in (1e2, 1e4, 1e6, 1e8)]
    steps = np.diff(np.log10(lost))
    assert (steps > 1.0).all()
    assert (steps < 3.0).all()


def test_the_test_matrix_has_its_condition():
    assert np.linalg.cond(conditioned_matrix(50, 30, 1e6, 3)) == pytest.approx(1e6, rel=1e-6)


@given(*CASES, st.sampled_from([None, 3]))
def test_lstsq_is_backward_stable(seed, shape, kind, dtype, columns):
    """LAPACK's dqrt17: the residual is orthogonal to the columns of A to working precision."""
    A = matrix(seed, shape, kind, dtype)
    b = matrix(seed + 1, (shape[0], columns or 1), "random", dtype)
    x = lstsq_qr(A, b if columns else b[:, 0])
    assert x.shape == ((shape[1], columns) if columns else (shape[1],))
    wide_A, wide_x = A.astype(np.float64), x.astype(np.float64).reshape(shape[1], -1)
    residual = b.astype(np.float64) - wide_A @ wide_x
    norm = np.linalg.norm(wide_A) or 1.0
    scale = norm * (np.linalg.norm(b) + norm * np.linalg.norm(wide_x))
    assert np.linalg.norm(wide_A.T @ residual) < THRESHOLD * max(shape) * np.finfo(dtype).eps * scale


@given(*CASES[:2], st.sampled_from(["random", "rank deficient", "tiny", "huge", "zero column", "zero"]))
def test_lstsq_is_the_solution_of_least_norm(seed, shape, kind):
    A, b = matrix(seed, shape, kind, np.float64), np.random.default_rng(seed + 1).standard_normal(shape[0])
    expected = np.linalg.lstsq(A, b, rcond=None)[0]
    # The forward error grows with the condition of the matrix, so that is the tolerance.
    sigma = np.linalg.svd(A, compute_uv=False)
    sigma = sigma[sigma > 1e-12 * sigma[0]] if sigma[0] > 0 else np.ones(1)
    condition = sigma[0] / sigma[-1]
    tolerance = 1e-14 * max(shape) * condition**2 * (np.linalg.norm(b) / sigma[0] + np.linalg.norm(expected))
    assert np.linalg.norm(lstsq_qr(A, b) - expected) <= tolerance


@given(*CASES)
def test_lstsq_solves_what_has_a_solution(seed, shape, kind, dtype):
    """LAPACK's dqrt16: with b in the range of A the residual is small beside |A| |x|."""
    A = matrix(seed, shape, kind, dtype)
    x = np.random.default_rng(seed + 1).standard_normal(shape[1])
    b = (A.astype(np.float64) @ x).astype(dtype)
    solved = lstsq_qr(A, b).astype(np.float64)
    wide_A, wide_b = A.astype(np.float64), b.astype(np.float64)
    residual = np.linalg.norm(wide_b - wide_A @ solved, 1)
    # The rounding of b itself leaves the range by up to eps |b|.
    scale = np.linalg.norm(wide_A, 1) * np.linalg.norm(solved, 1) + np.linalg.norm(wide_b, 1)
    assert residual <= THRESHOLD * max(shape) * np.finfo(dtype).eps * scale


def test_sixteen_bit_and_tensors():
    torch = pytest.importorskip("torch")
    A = torch.randn(20, 5, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    Q, R = householder_qr(A)
    assert Q.dtype == torch.bfloat16
    assert (Q.double() @ R.double() - A.double()).abs().max() < 0.05
    assert lstsq_qr(A, A @ torch.ones(5, dtype=torch.bfloat16)).shape == (5,)


def test_empty():
    Q, R = householder_qr(np.zeros((3, 0)))
    assert Q.shape == (3, 0)
    assert R.shape == (0, 0)
    assert lstsq_qr(np.zeros((0, 2)), np.zeros(0)).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gram_schmidt(np.zeros((2, 3))), "rows as columns"),
        (lambda: gram_schmidt(np.eye(2), variant="new"), "new"),
        (lambda: householder_qr(np.zeros(3)), "one matrix"),
        (lambda: householder_qr([[np.nan]]), "NaN"),
        (lambda: householder_qr(np.eye(2), mode="raw"), "raw"),
        (lambda: lstsq_qr(np.eye(2), np.ones(3)), "2 rows"),
        (lambda: lstsq_qr(np.eye(2), [1.0, np.inf]), "b holds"),
        (lambda: compare_qr(dtype="float16"), "float16"),
        (lambda: compare_qr(condition=0.5), "condition"),
        (lambda: compare_qr(condition=np.nan), "condition"),
        (lambda: compare_qr(rows=3, columns=4), "columns"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(BadInput, match=message):
        call()
