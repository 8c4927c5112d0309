"""The share that products keep without a rest."""

import pytest

from latency_predictor.fitting.sustained import sustained_share


def test_is_the_ratio_of_the_two_rows() -> None:
    rows = [
        {"kind": "sustained", "rested": True, "latency_s": 0.9},
        {"kind": "sustained", "rested": False, "latency_s": 1.2},
        {"kind": "gemm", "latency_s": 7.0},
    ]
    assert sustained_share({"rows": rows, "dtype": "bf16"}) == pytest.approx(0.75)


def test_is_unknown_without_and_never_above_one() -> None:
    rested = {"kind": "sustained", "rested": True, "latency_s": 1.0}
    assert sustained_share({"rows": [rested], "dtype": "bf16"}) is None
    assert sustained_share({"rows": []}) is None
    faster = [rested, {**rested, "rested": False, "latency_s": 0.99}]
    assert sustained_share({"rows": faster}) == 1.0
