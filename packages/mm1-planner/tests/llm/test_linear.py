"""Batching without limits: sums over lags by brute force, and a case that is an autoregression."""

from __future__ import annotations

import numpy as np
import pytest

from mm1_planner.llm.linear import Coefficients, _kernels, unlimited


def test_the_sums_over_lags_are_those_of_the_requests() -> None:
    rng = np.random.default_rng(0)
    prompts, outputs = rng.integers(1, 30, 40), rng.integers(1, 12, 40)
    c = Coefficients(0.01, 2e-3, 3e-4, 1e-3)
    length = int(outputs.max()) + 3
    work, decodes = np.zeros((40, length)), np.zeros((40, length))
    for i, (p, o) in enumerate(zip(prompts, outputs, strict=True)):
        work[i, 0] = c.delta_s * p
        for j in range(1, o):
            work[i, j] = c.beta_s + c.gamma_s * (p + j - 1)
            decodes[i, j] = 1

    def lagged(left: np.ndarray, right: np.ndarray) -> list[float]:
        return [float((left[:, : length - d] * right[:, d:]).sum() / 40) for d in range(length)]

    wanted = (work.mean(0), decodes.mean(0), lagged(work, work), lagged(work, decodes), lagged(decodes, work))
    for found, want in zip(_kernels(prompts.astype(float), outputs - 1, c), wanted, strict=True):
        np.testing.assert_allclose(found[:length], want, rtol=1e-12, atol=1e-18)


def test_one_token_each_is_an_autoregression() -> None:
    rate, c = 20.0, Coefficients(0.01, 0.0, 0.0, 1e-4)
    prompts = np.random.default_rng(1).geometric(1 / 300, 5000)
    found = unlimited(rate, prompts, np.ones(5000), c)
    share = rate * c.delta_s * prompts.mean()
    mean = c.alpha_s / (1 - share)
    variance = rate * c.delta_s**2 * (prompts.astype(float) ** 2).mean() * mean / (1 - share**2)
    residual = (mean**2 + variance) / (2 * mean)
    assert found.iteration_s == pytest.approx(mean, rel=1e-12)
    assert found.residual_s == pytest.approx(residual, rel=1e-9)
    first = residual + c.alpha_s + c.delta_s * prompts.mean() + share * 2 * residual
    assert found.first_token_s == pytest.approx(first, rel=1e-9)


def test_steps_that_cost_nothing_make_a_poisson_number() -> None:
    # Iterations of a fixed length: M/G/infinity, whose number does not tell the time of an iteration.
    outputs = np.random.default_rng(2).geometric(1 / 50, 5000)
    found = unlimited(30.0, np.full(5000, 100), outputs, Coefficients(0.02, 0.0, 0.0, 0.0))
    assert found.itl_s == pytest.approx(0.02, rel=1e-12)
    assert found.decoding == pytest.approx(30 * 0.02 * (outputs - 1).mean(), rel=1e-12)
    assert found.residual_s == pytest.approx(0.01, rel=1e-9)
