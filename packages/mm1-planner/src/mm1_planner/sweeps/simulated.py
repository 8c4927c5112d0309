"""Simulations of many configurations, on one core, on all, or on Ray."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

from mfi_command import BadInput
from mfi_command.executors import digest, map_tasks

Configuration = Mapping[str, Any]

NAMES = (
    "arrival_rate_per_s",
    "service",
    "servers",
    "arrivals",
    "capacity",
    "patience_s",
    "customers",
    "seed",
    "replication",
)
"""What a configuration may name, as arguments of `simulate`."""

_VERSION = 1


def grid(**values: Sequence[Any]) -> list[dict[str, Any]]:
    """Every combination of the values given for each name of `NAMES`, the last name varying fastest.

    Raises
    ------
    BadInput
        If a name is unknown or has no value.

    Examples
    --------
    >>> grid(servers=[1, 2], service=["exp:1"])
    [{'servers': 1, 'service': 'exp:1'}, {'servers': 2, 'service': 'exp:1'}]
    """
    for name, each in values.items():
        if name not in NAMES:
            raise BadInput(f"{name!r} is no part of a configuration; there are {', '.join(NAMES)}")
        if not each:
            raise BadInput(f"no value for {name}; give at least one")
    return [
        dict(zip(values, combination, strict=True)) for combination in itertools.product(*values.values())
    ]


def key_of(configuration: Configuration) -> str:
    """The hash of a configuration: the same for the same numbers, however they are ordered."""
    return digest({"version": _VERSION, **configuration})


def simulate_configuration(configuration: Configuration) -> dict[str, Any]:
    """One simulation as a flat row: the configuration, its key, each metric and its 95 % interval.

    Every number is a plain value, infinite and missing ones None.
    """
    from mm1_planner.simulation import simulate

    run = simulate(**configuration).to_dict()
    intervals = run.pop("ci95")
    assert isinstance(intervals, dict)
    row: dict[str, Any] = {
        name: value for name, value in run.items() if isinstance(value, int | float | str | bool)
    }
    row |= {f"{name}_low": pair[0] for name, pair in intervals.items()}
    row |= {f"{name}_high": pair[1] for name, pair in intervals.items()}
    row = {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in row.items()}
    return {"configuration": key_of(configuration), **row, **configuration}


def sweep(
    configurations: Sequence[Configuration],
    *,
    executor: str = "serial",
    workers: int | None = None,
    store: MutableMapping[str, dict[str, Any]] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Simulate each configuration, in order; the rows do not depend on who runs them.

    Parameters
    ----------
    configurations : sequence of mapping
        Arguments of `simulate`, such as `grid` makes. Equal ones are simulated once.
    executor, workers
        As for `mfi_command.executors.map_tasks`: `serial`, `processes` or `ray`.
    store : mapping, optional
        Such as `ParquetStore`: what it holds already is not simulated again.

    Raises
    ------
    BadInput
        If a configuration is out of range, or the executor unknown or not installed.

    Notes
    -----
    Streams are counter-based, keyed by seed and replication: configurations that share those see the same
    arrivals and services (common random numbers), and the same row comes from any number of workers.
    """
    keys = [key_of(each) for each in configurations]
    first = dict(zip(keys, configurations, strict=True))
    rows = map_tasks(
        simulate_configuration,
        [dict(each) for each in first.values()],
        executor=executor,
        workers=workers,
        keys=list(first),
        store=store,
        on_progress=on_progress,
    )
    by_key = dict(zip(first, rows, strict=True))
    return [by_key[key] for key in keys]
