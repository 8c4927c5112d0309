"""The share that products keep, from either file that holds it."""

import pytest

from latency_predictor.fitting.sustained import sustained_share


def test_from_rows_and_from_ceilings() -> None:
    rows = [
        {"kind": "sustained", "rested": True, "latency_s": 0.9},
        {"kind": "sustained", "rested": False, "latency_s": 1.2},
        {"kind": "gemm", "latency_s": 7.0},
    ]
    assert sustained_share({"rows": rows, "dtype": "bf16"}) == pytest.approx(0.75)
    ceilings = {"peaks_flop_per_s": {"bf16": 8e14}, "sustained_flop_per_s": {"bf16": {"median": 7e14}}}
    assert sustained_share(ceilings) == pytest.approx(0.875)


def test_is_unknown_without_and_never_above_one() -> None:
    rested = {"kind": "sustained", "rested": True, "latency_s": 1.0}
    assert sustained_share({"rows": [rested], "dtype": "bf16"}) is None
    assert sustained_share({"rows": [], "sustained_flop_per_s": {}}) is None
    faster = [rested, {**rested, "rested": False, "latency_s": 0.99}]
    assert sustained_share({"rows": faster}) == 1.0
