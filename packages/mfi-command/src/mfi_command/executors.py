"""One map over many tasks: here, in processes or on Ray; in order, resumable, the same results each way."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol, TypeVar

from mfi_command.errors import BadInput, require
from mfi_command.files import atomic_file
from mfi_command.report import plain

T = TypeVar("T")
R = TypeVar("R")

EXECUTORS = ("serial", "processes", "ray")
_KEY = re.compile(r"[\w.-]{1,200}")
# Enough that no worker idles while a result is stored, and few enough that a stop loses little.
_AHEAD = 2
# Ray's own choice is a third of the memory; tasks and results here are small.
_OBJECTS_BYTES = 256 * 2**20


class _Pool(Protocol):
    def submit(self, task: object) -> object: ...

    def finished(self, waiting: Sequence[object]) -> list[object]: ...

    def result(self, handle: object) -> Any: ...


def map_tasks(
    function: Callable[[T], R],
    tasks: Sequence[T],
    *,
    executor: str = "serial",
    workers: int | None = None,
    keys: Sequence[str] | None = None,
    store: MutableMapping[str, R] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[R]:
    """`[function(task) for task in tasks]`, on the executor of that name.

    Parameters
    ----------
    function : callable
        Of one task. For `processes` and `ray` it has to be importable (no lambda), its tasks and results
        picklable; a script that calls this needs `if __name__ == "__main__":`.
    tasks : sequence
        One task should be a second of work or more: on Ray a task costs about a millisecond by itself.
    executor : {"serial", "processes", "ray"}
        Here, in new processes of this machine, or on Ray: the cluster of `RAY_ADDRESS` or one that runs
        already, else one of this machine that ends with the call.
    workers : int, optional
        Tasks at a time; by default one for each core that this process may use. A Ray cluster that runs
        already decides by itself.
    keys, store : optional
        A name for each task and a mapping such as `JsonFolder`. A task whose key is in `store` is not run;
        every other result is stored as soon as it is there, so that a second call resumes.
    on_progress : callable, optional
        Called with (tasks done, tasks in all), those found in `store` included.

    Returns
    -------
    list
        In the order of the tasks, whoever finished first.

    Raises
    ------
    BadInput
        If the executor is unknown, Ray is not installed, or keys are missing or not unique.
    Exception
        What a task raised, unchanged; what had finished until then is in `store`.

    Examples
    --------
    >>> map_tasks(abs, [-1, 2, -3])
    [1, 2, 3]
    """
    if executor not in EXECUTORS:
        raise BadInput(f"executor is {executor!r}; expected one of {', '.join(EXECUTORS)}")
    workers = _workers(workers)
    names = _names(tasks, keys, store)
    kept: MutableMapping[str, R] = {} if store is None else store
    missing = [index for index, name in enumerate(names) if name not in kept]
    found: dict[int, R] = {}
    tick = on_progress or (lambda done, total: None)
    tick(len(tasks) - len(missing), len(tasks))
    if missing:
        with _pool(executor, function, workers, len(missing)) as pool:
            for index, result in _run(pool, tasks, missing, workers):
                found[index] = result
                if store is not None:
                    kept[names[index]] = result
                tick(len(tasks) - len(missing) + len(found), len(tasks))
    return [found[index] if index in found else kept[name] for index, name in enumerate(names)]


def digest(specification: Mapping[str, object]) -> str:
    """A key for a specification: 32 hexadecimal digits of the SHA-256 of its JSON with sorted names.

    Raises
    ------
    TypeError
        If it holds something without a JSON form.

    Examples
    --------
    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    text = json.dumps(plain(specification), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class JsonFolder(MutableMapping[str, Any]):
    """Results as JSON files of a folder, one a key, each whole or not at all.

    Parameters
    ----------
    path : path
        Made if it does not exist. A key is a file name: letters, digits, `_`, `-` and `.`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise BadInput(f"{self.path} is a file; expected a folder for the results")
        self.path.mkdir(parents=True, exist_ok=True)

    def _file(self, key: str) -> Path:
        if not _KEY.fullmatch(key) or key.startswith("."):
            raise BadInput(f"key {key!r} is no file name; use letters, digits, '_', '-' and '.'")
        return self.path / f"{key}.json"

    def __getitem__(self, key: str) -> Any:
        try:
            return json.loads(self._file(key).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise KeyError(key) from None

    def __setitem__(self, key: str, value: Any) -> None:
        with atomic_file(self._file(key)) as temporary:
            temporary.write_text(json.dumps(plain(value)), encoding="utf-8")

    def __delitem__(self, key: str) -> None:
        try:
            self._file(key).unlink()
        except FileNotFoundError:
            raise KeyError(key) from None

    def __iter__(self) -> Iterator[str]:
        # A run that was killed may leave a temporary file; its name starts with a dot.
        return (file.stem for file in sorted(self.path.glob("*.json")) if not file.name.startswith("."))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _workers(workers: object) -> int:
    if workers is None:
        # Not every system tells which cores a process may use.
        affinity = getattr(os, "sched_getaffinity", None)
        if affinity is not None:
            return len(affinity(0))
        count = os.cpu_count()
        return 1 if count is None else count
    if isinstance(workers, bool) or not isinstance(workers, int) or not 1 <= workers <= 10_000:
        raise BadInput(f"workers is {workers!r}; expected a whole number between 1 and 10000")
    return workers


def _names(tasks: Sequence[object], keys: Sequence[str] | None, store: object) -> list[str]:
    if keys is None:
        if store is not None:
            raise BadInput("a store needs keys: one name for each task")
        return [str(index) for index in range(len(tasks))]
    if len(keys) != len(tasks) or len(set(keys)) != len(keys):
        raise BadInput(f"{len(set(keys))} different keys for {len(tasks)} tasks; expected one for each")
    return list(keys)


def _run(pool: _Pool, tasks: Sequence[T], missing: Sequence[int], workers: int) -> Iterator[tuple[int, Any]]:
    """Index and result of each missing task as it finishes, with a bounded number under way."""
    waiting: dict[object, int] = {}
    ahead = iter(missing)
    for index in ahead:
        waiting[pool.submit(tasks[index])] = index
        if len(waiting) >= _AHEAD * workers:
            break
    while waiting:
        for handle in pool.finished(list(waiting)):
            yield waiting.pop(handle), pool.result(handle)
            following = next(ahead, None)
            if following is not None:
                waiting[pool.submit(tasks[following])] = following


@contextmanager
def _pool(executor: str, function: Callable[[Any], Any], workers: int, tasks: int) -> Iterator[_Pool]:
    if executor == "serial":
        yield _Serial(function)
    elif executor == "processes":
        # Forking a process that has threads (numpy's, torch's) can hang; new ones import what they need.
        pool = ProcessPoolExecutor(min(workers, tasks), mp_context=get_context("spawn"))
        try:
            yield _Processes(pool, function)
        finally:
            pool.shutdown(cancel_futures=True)
    else:
        with _ray(workers) as module:
            yield _Ray(module, function)


class _Serial:
    """Runs a task when its result is asked for, so that each one is stored before the next begins."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def submit(self, task: object) -> object:
        return _Task(task)

    def finished(self, waiting: Sequence[object]) -> list[object]:
        return [waiting[0]]

    def result(self, handle: object) -> Any:
        assert isinstance(handle, _Task)
        return self.function(handle.task)


class _Task:
    """A handle that is only itself, whatever it holds."""

    def __init__(self, task: object) -> None:
        self.task = task


class _Processes:
    def __init__(self, pool: ProcessPoolExecutor, function: Callable[[Any], Any]) -> None:
        self.pool, self.function = pool, function

    def submit(self, task: object) -> object:
        return self.pool.submit(self.function, task)

    def finished(self, waiting: Sequence[Any]) -> list[object]:
        futures: Sequence[Future[object]] = waiting
        return list(wait(futures, return_when=FIRST_COMPLETED).done)

    def result(self, handle: Any) -> Any:
        return handle.result()


class _Ray:
    def __init__(self, module: Any, function: Callable[[Any], Any]) -> None:
        def call(task: object) -> object:
            return function(task)

        self.module = module
        # Ray takes plain functions only, not builtins; a worker that dies is tried again elsewhere.
        self.remote = module.remote(num_cpus=1, max_retries=2)(call)

    def submit(self, task: object) -> object:
        return self.remote.remote(task)

    def finished(self, waiting: Sequence[object]) -> list[object]:
        return list(self.module.wait(list(waiting), num_returns=1)[0])

    def result(self, handle: object) -> Any:
        try:
            return self.module.get(handle)
        except self.module.exceptions.RayTaskError as error:
            raise error.cause from None


@contextmanager
def _ray(workers: int) -> Iterator[Any]:
    """Ray, connected; what this call started ends with it."""
    # Under `uv run` Ray would pack the working directory and build its environment anew for the workers.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    module: Any = require("ray", extra="ray", distribution="mfi-command")
    if module.is_initialized():
        yield module
        return
    local: dict[str, Any] = {}
    if not os.environ.get("RAY_ADDRESS"):
        local = {"num_cpus": workers, "include_dashboard": False, "object_store_memory": _OBJECTS_BYTES}
    module.init(log_to_driver=False, logging_level="ERROR", **local)
    try:
        yield module
    finally:
        module.shutdown()
