"""What a saved answer of `plan`, `llm` or `autoscale` says of a manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mfi_command import BadInput
from mm1_planner.autoscaling.laws import Behavior, Policy, Scaler
from mm1_planner.autoscaling.simulation import Floor
from mm1_planner.export.rules import rate_held

_PROMISED = ("wait", "sojourn", "ttft", "tpot", "e2e")


@dataclass(frozen=True)
class Saved:
    """The parts of an answer that a manifest needs; each may be missing.

    Attributes
    ----------
    scaler, schedule
        Of an autoscaling study.
    promises : tuple of (metric, limit_s)
        Of any answer.
    replicas, rate_per_s
        Of a plan: how many, and the largest rate that they hold.
    """

    scaler: Scaler | None = None
    schedule: tuple[Floor, ...] = ()
    promises: tuple[tuple[str, float], ...] = ()
    replicas: int | None = None
    rate_per_s: float | None = None


def read_answer(path: str | Path) -> Saved:
    """Read what `mm1-planner plan|llm|autoscale --json` printed or wrote.

    Raises
    ------
    BadInput
        If the file is not such an answer, or the plan is infeasible.
    OSError
        If it cannot be read.
    """
    path = Path(path)
    try:
        answer = json.loads(path.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadInput(f"{path.name} is no JSON: {error}") from None
    if not isinstance(answer, dict) or answer.get("tool") != "mm1-planner":
        raise BadInput(f"{path.name} is no answer of mm1-planner; expected what `plan --json` prints")
    try:
        return _saved(answer, path.name)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{path.name} is an answer of another version: {error!r}") from None


def _saved(answer: Mapping[str, Any], name: str) -> Saved:
    if "scaler" in answer:
        from mm1_planner.slo import read_promise

        metric, limit_s = read_promise(answer["slo"], _PROMISED, "p99_wait<0.5")
        schedule = tuple(Floor(float(e["start_s"]), int(e["replicas"])) for e in answer["schedule"])
        kept = schedule if not answer["reactive"]["held"] else ()
        return Saved(_scaler(answer["scaler"]), kept, ((metric, limit_s),))
    if answer.get("feasible") is False:
        raise BadInput(f"the plan of {name} is infeasible: there is nothing to export")
    if "replicas" in answer:
        from mm1_planner.slo import read_promise

        slos = [read_promise(each["slo"], ("ttft", "itl", "tpot", "e2e"), "") for each in answer["slos"]]
        return Saved(promises=tuple(slos), replicas=answer["replicas"])
    if "servers" in answer and "slos" in answer:
        promises = tuple((each["metric"], float(each["limit_s"])) for each in answer["slos"])
        headroom = (answer.get("sensitivity") or {}).get("headroom")
        rate = rate_held(answer["arrival_rate_per_s"], headroom) if headroom else None
        return Saved(promises=promises, replicas=answer["servers"], rate_per_s=rate)
    raise BadInput(f"{name} is no answer of plan, llm or autoscale")


def _scaler(values: Mapping[str, Any]) -> Scaler:
    sides = {
        side: Behavior(
            values[side]["window_s"],
            tuple(Policy(**policy) for policy in values[side]["policies"]),
            values[side]["select"],
        )
        for side in ("up", "down")
    }
    return Scaler(**{**values, **sides})
