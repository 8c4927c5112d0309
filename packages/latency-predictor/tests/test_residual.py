"""The residual: it learns a smooth correction, and says nothing where nothing was measured."""

import numpy as np
import pytest

from latency_predictor.residual import (
    Residual,
    attention_features,
    fit_residual,
    gemm_features,
    residual_from,
)
from latency_predictor.timing import Hardware

ON = Hardware(1e15, 3e12, 132, 50 << 20)


def _rows(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    features = generator.uniform(-2, 2, (count, 3))
    return features, 0.3 * np.sin(features[:, 0]) + 0.1 * features[:, 1] * features[:, 2]


def test_learns_what_it_was_shown_and_generalises() -> None:
    features, truth = _rows(600, 0)
    noisy = truth + np.random.default_rng(1).normal(0, 0.02, len(truth))
    made = fit_residual(features, noisy)
    unseen, wanted = _rows(200, 2)
    error = np.abs(made.log_ratio(unseen) - wanted)
    assert np.median(error) < 0.02
    assert np.quantile(error, 0.9) < 0.06
    # Planted fault: the weights of another fit.
    wrong = Residual(made.centres, made.weights[::-1].copy())
    assert np.median(np.abs(wrong.log_ratio(unseen) - wanted)) > 0.06


def test_vanishes_away_from_the_measurements_and_says_how_far() -> None:
    features, truth = _rows(300, 3)
    made = fit_residual(features, truth + 1.0)
    far = features + 20
    log_ratio, distance = made.evaluate(far)
    assert np.abs(log_ratio).max() < 1e-6
    assert distance.min() > 10
    assert made.evaluate(features)[1].max() < 2


def test_no_correction_is_larger_than_e() -> None:
    features, _ = _rows(100, 4)
    made = fit_residual(features, np.full(100, 5.0))
    assert made.log_ratio(features).max() == pytest.approx(1.0)


def test_survives_being_written() -> None:
    features, truth = _rows(300, 5)
    made = fit_residual(features, truth)
    again = residual_from(made.to_dict())
    assert np.abs(again.log_ratio(features) - made.log_ratio(features)).max() < 0.01


def test_features_are_finite_and_see_the_wave() -> None:
    m = np.array([1.0, 128, 129, 8192])
    found = gemm_features(m, 4096, 4096, 1e8, ON)
    assert np.isfinite(found).all()
    assert np.abs(found[1] - found[2]).max() > 0.2  # one row more is another row of tiles
    heads = attention_features(m, 1.0, 32, 8, 128)
    assert heads.shape == (4, 5)
    assert np.isfinite(heads).all()
