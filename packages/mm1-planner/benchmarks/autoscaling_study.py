"""Autoscalers on a rate that rises tenfold within half an hour, over laws and start-up delays.

    python packages/mm1-planner/benchmarks/autoscaling_study.py
    python packages/mm1-planner/benchmarks/autoscaling_study.py --batching

For each: the share of requests in time, replica-hours and turns of the scaler alone; the same with the
pre-scaling schedule that was fitted on one draw of the traffic and is tried on another; and the fixed number.
With `--batching` the replicas are of a language model and run iteration by iteration, scaled on what vLLM
tells: requests waiting, waiting and running, arrivals, and the share of the KV cache in use.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import platform
from pathlib import Path

from mm1_planner import Behavior, Policy, Scaler, study_autoscaling

PROFILE = "0s=2/s,30min=20/s,60min=20/s,90min=2/s"
SERVICE, SLO = "exp:0.5", "p99_wait<0.5"
LAWS = (("queue", 2.0), ("concurrency", 0.7), ("arrivals", 1.4), ("utilization", 0.7))
BATCHING = {
    "profile": "0s=5/s,5min=50/s,10min=50/s,15min=5/s",
    "service": "llm:alpha=12ms,beta=200us,gamma=20ns,delta=60us,max_batch=64,kv_tokens=60000",
    "prompt_tokens": "geometric:500",
    "output_tokens": "geometric:150",
    "slo": "p95_ttft<0.5",
}
BATCHING_LAWS = (("queue", 2.0), ("concurrency", 24.0), ("arrivals", 5.0), ("utilization", 0.3))
SLOW = Behavior(60.0, (Policy("pods", 2, 60.0),))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--batching", action="store_true", help="replicas of a language model")
    options = parser.parse_args()
    asked = BATCHING if options.batching else {"profile": PROFILE, "service": SERVICE, "slo": SLO}
    rows = _batching_rows() if options.batching else _plain_rows()
    result = {
        "command": "autoscaling_study.py" + (" --batching" if options.batching else ""),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "device": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "mm1_planner": importlib.metadata.version("mm1-planner"),
        **asked,
        "rows": rows,
    }
    if options.output:
        options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _batching_rows() -> list[dict[str, object]]:
    return [
        _row(Scaler(metric, target, kind="keda", startup_s=startup_s, most=40), BATCHING)
        for metric, target in BATCHING_LAWS
        for startup_s in (10.0, 100.0)
    ]


def _plain_rows() -> list[dict[str, object]]:
    asked = {"profile": PROFILE, "service": SERVICE, "slo": SLO}
    rows = []
    for kind in ("hpa", "keda"):
        for metric, target in LAWS:
            for startup_s in (10.0, 100.0, 300.0):
                scaler = Scaler(metric, target, kind=kind, startup_s=startup_s, most=100)
                rows.append(_row(scaler, asked))
    for startup_s in (10.0, 100.0, 300.0):
        slow = Scaler("arrivals", 1.4, startup_s=startup_s, up=SLOW)
        rows.append(_row(slow, asked, note="2 pods a minute, window 60 s"))
    return rows


def _row(scaler: Scaler, asked: dict[str, str], note: str = "") -> dict[str, object]:
    study = study_autoscaling(scaler=scaler, **asked)
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
    print(row, flush=True)
    return row


if __name__ == "__main__":
    main()
