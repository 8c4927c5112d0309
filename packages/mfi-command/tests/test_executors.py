"""The three executors give the same results in the same order, and none repeats what is stored."""

from __future__ import annotations

import importlib.util
import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfi_command import BadInput
from mfi_command import executors as module
from mfi_command.executors import JsonFolder, digest, map_tasks

NO_RAY = importlib.util.find_spec("ray") is None
EVERY = [
    "serial",
    "processes",
    pytest.param(
        "ray", marks=[pytest.mark.slow, pytest.mark.skipif(NO_RAY, reason="the extra [ray] is not installed")]
    ),
]


@pytest.mark.parametrize("executor", EVERY)
def test_results_come_in_the_order_of_the_tasks(executor: str):
    tasks = [0.05, 0.0, 0.02, 0.0]
    assert map_tasks(time.sleep, tasks, executor=executor, workers=2) == [None] * 4
    numbers = [str(n) for n in range(11)]
    assert map_tasks(json.loads, numbers, executor=executor, workers=2) == list(range(11))


@pytest.mark.parametrize("executor", EVERY)
def test_what_a_task_raises_arrives_and_what_finished_before_is_kept(executor: str, tmp_path: Path):
    store = JsonFolder(tmp_path)
    texts = ["1", "2", "3", "4", "5", "6", "no JSON"]
    with pytest.raises(json.JSONDecodeError):
        map_tasks(json.loads, texts, executor=executor, workers=1, keys=list("abcdefg"), store=store)
    assert set(store) >= set("abcd")
    assert store["c"] == 3
    assert "g" not in store


@pytest.mark.parametrize("executor", EVERY)
def test_workers_are_other_processes(executor: str):
    pids = set(map_tasks(eval, ["__import__('os').getpid()"] * 4, executor=executor, workers=2))
    assert (os.getpid() in pids) == (executor == "serial")


@given(st.lists(st.integers(), max_size=30), st.sets(st.integers(0, 29)))
def test_only_what_is_missing_runs(tasks: list[int], there: set[int]):
    keys = [str(index) for index in range(len(tasks))]
    store = {keys[i]: tasks[i] * 3 for i in there if i < len(tasks)}
    ran: list[int] = []

    def triple(task: int) -> int:
        ran.append(task)
        return task * 3

    expected = [tasks[i] for i in range(len(tasks)) if i not in there]
    assert map_tasks(triple, tasks, keys=keys, store=store) == [task * 3 for task in tasks]
    assert ran == expected
    assert len(store) == len(tasks)


def test_each_result_is_stored_before_the_next_task_begins():
    store: dict[str, int] = {}
    sizes = map_tasks(lambda task: len(store), [0, 0, 0], keys=["a", "b", "c"], store=store)
    assert sizes == [0, 1, 2]


def test_progress_counts_what_was_there():
    seen: list[tuple[int, int]] = []
    map_tasks(abs, [1, 2], keys=["a", "b"], store={"a": 1}, on_progress=lambda *now: seen.append(now))
    assert seen == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"executor": "threads"}, "serial, processes, ray"),
        ({"workers": 0}, "workers is 0"),
        ({"workers": True}, "workers is True"),
        ({"keys": ["a", "a"]}, "1 different keys for 2 tasks"),
        ({"store": {}}, "needs keys"),
    ],
)
def test_bad_input_is_one_sentence(arguments: dict[str, object], message: str):
    with pytest.raises(BadInput, match=message):
        map_tasks(abs, [1, 2], **arguments)  # type: ignore[arg-type]


def test_without_ray_the_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    def absent(name: str, **advice: str) -> None:
        raise BadInput(f"pip install '{advice['distribution']}[{advice['extra']}]'")

    monkeypatch.setattr(module, "require", absent)
    with pytest.raises(BadInput, match=r"mfi-command\[ray\]"):
        map_tasks(abs, [1], executor="ray")


def test_a_digest_depends_on_the_values_and_not_on_their_order():
    assert digest({"a": 1, "b": [1.5, None]}) == digest({"b": [1.5, None], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    assert digest({"a": 1.0}) != digest({"a": "1.0"})
    assert len(digest({})) == 32


def test_a_folder_is_a_mapping(tmp_path: Path):
    store = JsonFolder(tmp_path / "new" / "results")
    store["a.b-1"] = {"x": float("nan"), "y": (1, 2)}
    (store.path / ".half-written.json").write_text("{")
    assert dict(store) == {"a.b-1": {"x": None, "y": [1, 2]}}
    with pytest.raises(KeyError):
        store["b"]
    with pytest.raises(BadInput, match="no file name"):
        store["../b"] = 1
    del store["a.b-1"]
    assert not store
    with pytest.raises(KeyError):
        del store["a.b-1"]
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="is a file"):
        JsonFolder(tmp_path / "file")


@pytest.mark.slow
@pytest.mark.skipif(NO_RAY, reason="the extra [ray] is not installed")
def test_a_cluster_that_runs_already_is_used_and_left_running():
    import ray

    ray.init(num_cpus=1, include_dashboard=False, object_store_memory=10**8, logging_level="ERROR")
    try:
        assert map_tasks(abs, [-1, -2], executor="ray") == [1, 2]
        assert ray.is_initialized()
    finally:
        ray.shutdown()


@pytest.mark.slow
@pytest.mark.skipif(NO_RAY, reason="the extra [ray] is not installed")
def test_a_cluster_started_by_the_call_ends_with_it():
    import ray

    assert map_tasks(abs, [-1, -2], executor="ray", workers=1) == [1, 2]
    assert not ray.is_initialized()
