"""Autoscalers on a rate that rises tenfold within half an hour, over laws and start-up delays.

    python packages/mm1-planner/benchmarks/autoscaling_study.py

For each: the share of requests in time, replica-hours and turns of the scaler alone; the same with the
pre-scaling schedule that was fitted on one draw of the traffic and is tried on another; and the fixed number.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
from pathlib import Path

from mm1_planner import Behavior, Policy, Scaler, study_autoscaling

PROFILE = "0s=2/s,30min=20/s,60min=20/s,90min=2/s"
SERVICE, SLO = "exp:0.5", "p99_wait<0.5"
LAWS = (("queue", 2.0), ("concurrency", 0.7), ("arrivals", 1.4), ("utilization", 0.7))
SLOW = Behavior(60.0, (Policy("pods", 2, 60.0),))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    rows = []
    for kind in ("hpa", "keda"):
        for metric, target in LAWS:
            for startup_s in (10.0, 100.0, 300.0):
                rows.append(_row(Scaler(metric, target, kind=kind, startup_s=startup_s, most=100)))
    for startup_s in (10.0, 100.0, 300.0):
        rows.append(
            _row(Scaler("arrivals", 1.4, startup_s=startup_s, up=SLOW), note="2 pods a minute, window 60 s")
        )
    result = {
        "command": "autoscaling_study.py",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "python": platform.python_version(),
        "profile": PROFILE,
        "service": SERVICE,
        "slo": SLO,
        "rows": rows,
    }
    if options.output:
        options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _row(scaler: Scaler, note: str = "") -> dict[str, object]:
    study = study_autoscaling(scaler=scaler, service=SERVICE, slo=SLO, profile=PROFILE)
    row: dict[str, object] = {
        "scaler": scaler.kind,
        "metric": scaler.metric,
        "target": scaler.target,
        "startup_s": scaler.startup_s,
        "note": note,
    }
    for name, run in (("alone", study.reactive), ("scheduled", study.scheduled)):
        row |= {
            f"{name}_held": run.held,
            f"{name}_in_time": round(run.attainment, 4),
            f"{name}_replica_hours": round(run.replica_hours, 2),
            f"{name}_turns": run.reversals,
            f"{name}_peak": run.peak,
        }
    row["fixed_replicas"] = study.fixed_replicas
    row["fixed_replica_hours"] = None if study.fixed is None else round(study.fixed.replica_hours, 2)
    print(row)
    return row


if __name__ == "__main__":
    main()
