"""Sweeps: the same rows from every executor, kept in Parquet, and nothing twice."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from mfi_command import BadInput
from mm1_planner import simulate
from mm1_planner.sweeps import simulated
from mm1_planner.sweeps.simulated import grid, key_of, sweep
from mm1_planner.sweeps.store import ParquetStore

NO_ARROW = pytest.mark.skipif(
    importlib.util.find_spec("pyarrow") is None, reason="the extra [parquet] is not installed"
)
NO_RAY = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="the extra [ray] is not installed"
)
ASKED = grid(
    arrival_rate_per_s=[2.0], service=["exp:0.3", "det:0.3"], servers=[1, 2], customers=[3000], seed=[5]
)


def test_rows_are_the_simulations() -> None:
    rows = sweep(ASKED)
    assert [(row["service"], row["servers"]) for row in rows] == [
        ("exp:0.3", 1), ("exp:0.3", 2), ("det:0.3", 1), ("det:0.3", 2),
    ]  # fmt: skip
    alone = simulate(**ASKED[2])
    assert rows[2]["p99_wait_s"] == alone.estimates["p99_wait_s"].value
    assert rows[2]["mean_wait_s_high"] == alone.estimates["mean_wait_s"].interval()[1]
    assert rows[2]["configuration"] == key_of(ASKED[2])


@pytest.mark.parametrize(
    ("executor", "workers"),
    [("processes", 2), pytest.param("ray", 2, marks=[pytest.mark.slow, NO_RAY])],
)
def test_every_executor_gives_the_same_rows(executor: str, workers: int) -> None:
    assert sweep(ASKED, executor=executor, workers=workers) == sweep(ASKED)


@NO_ARROW
def test_a_second_run_resumes_from_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet

    with ParquetStore(tmp_path) as store:
        first = sweep(ASKED[:3], store=store)
    ran = []
    real = simulated.simulate_configuration
    monkeypatch.setattr(simulated, "simulate_configuration", lambda each: ran.append(each) or real(each))
    with ParquetStore(tmp_path) as store:
        assert sweep(ASKED, store=store)[:3] == first
    assert ran == ASKED[3:]
    table = pyarrow.parquet.read_table(tmp_path)
    assert table.num_rows == 4
    assert set(table.column("key").to_pylist()) == {key_of(each) for each in ASKED}
    assert {"p99_wait_s", "p99_wait_s_low", "servers", "service"} <= set(table.column_names)


@NO_ARROW
def test_what_was_done_before_an_error_is_kept(tmp_path: Path) -> None:
    broken = [*ASKED[:2], {**ASKED[0], "servers": 0}, ASKED[3]]
    with pytest.raises(BadInput, match="servers"), ParquetStore(tmp_path) as store:
        sweep(broken, store=store)
    assert set(ParquetStore(tmp_path)) == {key_of(each) for each in ASKED[:2]}


@NO_ARROW
def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput, match="is a file"):
        ParquetStore(tmp_path / "file")
    (tmp_path / "part-00000.parquet").write_text("x")
    with pytest.raises(BadInput, match="no part of a sweep"):
        ParquetStore(tmp_path)


def test_equal_configurations_are_simulated_once_and_keys_do_not_depend_on_order() -> None:
    twice = sweep([ASKED[0], dict(reversed(ASKED[0].items()))])
    assert twice[0] == twice[1]
    assert key_of({"servers": 1, "seed": 2}) != key_of({"servers": 2, "seed": 1})


def test_names_that_are_none() -> None:
    with pytest.raises(BadInput, match="hope"):
        grid(hope=[1])
    with pytest.raises(BadInput, match="no value for servers"):
        grid(servers=[])
