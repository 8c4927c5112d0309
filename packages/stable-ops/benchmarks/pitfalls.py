"""What the usual formula answers, what ours answers, and what is true: lines of code that are run."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import scipy.special
import torch

import stable_ops
from stable_ops import fp


@dataclass(frozen=True)
class Pitfall:
    """One operation that goes wrong quietly.

    Attributes
    ----------
    family : str
        The page of the mathematics it belongs to.
    title, why : str
        What is asked, and what happens inside the usual formula.
    given : str
        An assignment that both lines use.
    usual, ours, truth : str
        Expressions; the truth in arithmetic that is long enough.
    """

    family: str
    title: str
    given: str
    usual: str
    ours: str
    truth: str
    why: str


PITFALLS = (
    Pitfall(
        "softmax", "softmax of large logits", "x = np.array([1000.0, 1001.0])",
        "(np.exp(x) / np.exp(x).sum())[0]", "so.softmax(x)[0]", "1 / (1 + np.exp(1.0))",
        "both exponentials are infinite",
    ),
    Pitfall(
        "softmax", "log-probability of the most likely token", "x = np.array([0.0, -50.0])",
        "np.log(so.softmax(x))[0]", "so.log_softmax(x)[0]", "-np.log1p(np.exp(-50.0))",
        "1 + 2e-22 is 1",
    ),
    Pitfall(
        "softmax", "log-probability in float32, by torch", "x = torch.tensor([0.0, -20.0])",
        "torch.log_softmax(x, -1)[0]", "so.log_softmax(x)[0]", "-np.log1p(np.exp(-20.0))",
        "the logarithm is taken of a rounded sum",
    ),
    Pitfall(
        "softmax", "sum of float32 probabilities of a long row, less one",
        "x = torch.randn(1, 2**20, generator=torch.Generator().manual_seed(0)) * 3",
        "torch.softmax(x, -1).double().sum() - 1", "so.softmax(x).double().sum() - 1", "0.0",
        "the sum of a million exponentials is kept in float32",
    ),
    Pitfall(
        "softmax", "logsumexp far out", "x = np.array([-1000.0, -1000.0])",
        "np.log(np.exp(x).sum())", "so.logsumexp(x)", "-1000 + np.log(2.0)", "both exponentials are zero",
    ),
    Pitfall(
        "norms", "error of LayerNorm at mean 10,000, float32",
        "x = 1e4 + torch.randn(1, 4096, generator=torch.Generator().manual_seed(0))",
        "layer_error(F.layer_norm(x, (4096,)), x)", "layer_error(so.layer_norm(x), x)", "0.0",
        "the rounding error of the mean is not small beside one standard deviation",
    ),
    Pitfall(
        "norms", "RMSNorm of 1e20 in bfloat16", "x = torch.tensor([1e20, -1e20], dtype=torch.bfloat16)",
        "F.rms_norm(x, (2,), eps=1e-6)[0]", "so.rms_norm(x)[0]", "1.0", "the square overflows float32",
    ),
    Pitfall(
        "norms", "Gemma's 1 + w in bfloat16", "w = torch.tensor(2.0**-9, dtype=torch.bfloat16)",
        "1 + w", "so.rms_norm(torch.ones(1), w[None], eps=0.0, form='gemma')[0]", "1 + 2.0**-9",
        "1 + w is rounded to the format of w",
    ),
    Pitfall(
        "activations", "GELU of -6 in float32", "x = torch.tensor(-6.0)",
        "F.gelu(x)", "so.gelu(x)", "-6 * scipy.special.ndtr(-6.0)", "1 + erf cancels, and is 0 from -5.5 on",
    ),
    Pitfall(
        "activations", "silu of -89 in float32", "x = torch.tensor([-89.0] * 64)",
        "F.silu(x)[0]", "so.silu(x)[0]", "-89 / (1 + np.exp(89.0))", "exp(89) overflows, and 1 over it is 0",
    ),
    Pitfall(
        "activations", "share of bfloat16 SwiGLU outputs that are not the nearest number",
        "g, u = torch.randn(2, 2**18, generator=torch.Generator().manual_seed(0)).bfloat16()",
        "swiglu_wrong(F.silu(g) * u, g, u)", "swiglu_wrong(so.swiglu(g, u), g, u)", "0.0",
        "silu is rounded, then the product again",
    ),
    Pitfall(
        "linear-algebra", "length of a float16 vector", "x = np.array([600, 800], dtype=np.float16)",
        "np.linalg.norm(x)", "so.vector_norm(x)", "1000.0", "600 squared is beyond 65,504",
    ),
    Pitfall(
        "linear-algebra", "length of a tiny float32 vector", "x = np.array([3e-30, 4e-30], dtype=np.float32)",
        "np.linalg.norm(x)", "so.vector_norm(x)", "5e-30", "the squares are zero",
    ),
    Pitfall(
        "linear-algebra", "orthogonality lost at condition 1e6, float32", "A = conditioned(1e6)",
        "orthogonality(so.gram_schmidt(A, variant='classical')[0])", "orthogonality(so.householder_qr(A)[0])",
        "0.0", "each column keeps the error of all before it, times the condition",
    ),
    Pitfall(
        "linear-algebra", "relative residual of a solvable float32 system at condition 1e6",
        "A = conditioned(1e6); b = A @ np.ones(100, dtype=np.float32)",
        "residual(A, np.linalg.solve(A.T @ A, A.T @ b), b)", "residual(A, so.lstsq_qr(A, b), b)", "0.0",
        "the normal equations square the condition",
    ),
    Pitfall(
        "linear-algebra", "largest eigenvalue of diag(2, -2, 1), plain power iteration",
        "A = np.diag([2.0, -2.0, 1.0])",
        "plain_power(A)", "max(so.power_iteration(A).equal_moduli)", "2.0",
        "two eigenvalues share the largest modulus, so nothing converges",
    ),
    Pitfall(
        "formats", "10,000 times 1e-4 in float16", "x = np.full(10_000, 1e-4, dtype=np.float16)",
        "np.add.accumulate(x)[-1]", "fp.accumulate(x, format='fp16', order='kahan').sum",
        "float(Fraction(float(x[0])) * 10_000)", "at 0.25 the next number is more than two values away",
    ),
    Pitfall(
        "formats", "rounding to bfloat16 by way of float32", "x = 1 + 2.0**-8 + 2.0**-40",
        "torch.tensor(x, dtype=torch.float64).bfloat16()", "fp.round_to(x, 'bf16')", "1 + 2.0**-7",
        "float32 lands on a tie, and the tie goes to the even number",
    ),
    Pitfall(
        "sampling", "tokens by which a float32 cumulative sum misses the nucleus, in 8 rows of 128,256",
        "p = so.softmax(np.random.default_rng(0).standard_normal((8, 128_256)).astype(np.float32))",
        "nucleus_off(float32_nucleus(p, 0.9), p)", "nucleus_off(so.nucleus(p, 0.9).sum(-1), p)", "0",
        "the running sum is rounded 128,256 times",
    ),
)  # fmt: skip


def measure() -> list[dict[str, Any]]:
    """Run every line."""
    return [{**vars(pitfall), **run(pitfall)} for pitfall in PITFALLS]


def run(pitfall: Pitfall) -> dict[str, float]:
    """The three values."""
    names: dict[str, Any] = {**TOOLS}
    with np.errstate(all="ignore"):
        exec(pitfall.given, names)
        return {
            f"{key}_value": float(eval(getattr(pitfall, key), names)) for key in ("usual", "ours", "truth")
        }


def layer_error(y: Any, x: Any) -> float:
    """Largest absolute error of a LayerNorm."""
    exact = x.double() - x.double().mean(-1, keepdim=True)
    exact = exact / (exact.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return float((y - exact).abs().max())


def swiglu_wrong(y: Any, gate: Any, up: Any) -> float:
    """Share of outputs that are not the nearest number."""
    wide = gate.double().numpy()
    exact = wide * scipy.special.expit(wide) * up.double().numpy()
    return float((y.double().numpy() != fp.round_to(exact, "bf16")).mean())


def conditioned(condition: float) -> Any:
    """A float32 matrix of 200 x 100."""
    rng = np.random.default_rng(0)
    U, _ = np.linalg.qr(rng.standard_normal((200, 100)))
    V, _ = np.linalg.qr(rng.standard_normal((100, 100)))
    return ((U * np.geomspace(1, 1 / condition, 100)) @ V.T).astype(np.float32)


def orthogonality(Q: Any) -> float:
    """Frobenius norm of what separates Q'Q from the identity."""
    wide = Q.astype(np.float64)
    return float(np.linalg.norm(wide.T @ wide - np.eye(wide.shape[1])))


def residual(A: Any, x: Any, b: Any) -> float:
    """Length of Ax - b over that of b."""
    wide = A.astype(np.float64)
    return float(np.linalg.norm(wide @ x - b) / np.linalg.norm(b))


def plain_power(A: Any) -> float:
    """100 steps from a random start, and the Rayleigh quotient."""
    v = np.random.default_rng(0).standard_normal(len(A))
    for _ in range(100):
        v = A @ v
        v /= np.linalg.norm(v)
    return float(v @ A @ v)


def float32_nucleus(p: Any, share: float) -> Any:
    """Sizes of the nucleus as a sequential float32 sum has them: sort, add up, compare."""
    ordered = -np.sort(-p, axis=-1)
    return (np.cumsum(ordered, axis=-1) < share).sum(-1) + 1


def nucleus_off(sizes: Any, p: Any) -> int:
    """Tokens too many or too few, in all rows, against sums of whole numbers."""
    off = 0
    for row, size in zip(p.astype(np.float64), sizes, strict=True):
        # Of these probabilities every one is a whole multiple of 2^-80.
        whole = [int(v) for v in np.ldexp(-np.sort(-row), 80)]
        border, total, count = Fraction(0.9) * sum(whole), 0, 0
        while total < border:
            total += whole[count]
            count += 1
        off += abs(int(size) - count)
    return off


TOOLS: dict[str, Any] = {
    "np": np, "torch": torch, "F": torch.nn.functional, "so": stable_ops, "fp": fp, "scipy": scipy,
    "Fraction": Fraction, "layer_error": layer_error, "swiglu_wrong": swiglu_wrong,
    "conditioned": conditioned, "orthogonality": orthogonality, "residual": residual,
    "plain_power": plain_power, "float32_nucleus": float32_nucleus, "nucleus_off": nucleus_off,
}  # fmt: skip
