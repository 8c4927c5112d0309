"""Rank correlations against scipy, and what "within role" leaves out."""

import math

import numpy as np
import pytest

from mfi_command import BadInput
from quant_risk_analyzer import rank_agreement, spearman

stats = pytest.importorskip("scipy.stats")


@pytest.mark.parametrize("ties", [False, True])
def test_spearman_is_scipys(ties):
    generator = np.random.default_rng(0)
    for _ in range(20):
        a, b = generator.standard_normal((2, 15))
        if ties:
            a, b = a.round(), b.round()
        assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)


def test_a_constant_has_no_rank_correlation():
    assert math.isnan(spearman([1, 1, 1], [1, 2, 3]))


def test_a_prediction_that_knows_only_the_role_has_nothing_within():
    roles = {f"{role}{at}": role for role in "qv" for at in range(4)}
    measured = {name: (10 if name[0] == "v" else 0) + int(name[1]) for name in roles}
    backwards = {name: (10 if name[0] == "v" else 0) - int(name[1]) for name in roles}
    found = rank_agreement(backwards, measured, roles)
    assert found.overall > 0.3
    assert found.within_role == -1
    assert found.by_role == {"q": -1, "v": -1}


def test_too_few_layers():
    with pytest.raises(BadInput, match="2 layers are in both"):
        rank_agreement({"a": 1, "b": 2}, {"a": 1, "b": 2, "c": 3}, {})
