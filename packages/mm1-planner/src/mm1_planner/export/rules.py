"""Prometheus rules: the promise as it is kept, and when the plan no longer fits the traffic."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mfi_command import BadInput
from mm1_planner.export.manifests import QUERIES, Target
from mm1_planner.models.answer import LEVELS

_HISTOGRAMS = {
    "wait": "vllm:request_queue_time_seconds",
    "sojourn": "vllm:e2e_request_latency_seconds",
    "e2e": "vllm:e2e_request_latency_seconds",
    "ttft": "vllm:time_to_first_token_seconds",
    "itl": "vllm:inter_token_latency_seconds",
    "tpot": "vllm:request_time_per_output_token_seconds",
}


def rules(
    target: Target,
    promises: Sequence[tuple[str, float]],
    *,
    replicas: int | None = None,
    rate_per_s: float | None = None,
    window: str = "5m",
) -> dict[str, object]:
    """A rule file: each promise and its alert; alerts for too few replicas and too much traffic.

    Parameters
    ----------
    promises : sequence of (metric, limit_s)
        Such as `("p99_ttft_s", 0.5)`: mean or percentile of wait, sojourn, TTFT, ITL, TPOT or E2E.
    replicas : int, optional
        The plan: fewer ready ones raise an alert.
    rate_per_s : float, optional
        The largest rate that the plan holds: more raises an alert.
    window : str
        Over how long rates are taken, in Prometheus's form.

    Raises
    ------
    BadInput
        If a metric has no histogram in vLLM, or nothing is promised.
    """
    if not promises and replicas is None and rate_per_s is None:
        raise BadInput("no rule to write: give a promise, replicas or a rate")
    made: list[dict[str, object]] = []
    selector = f"{{{target.selector}}}" if target.selector else ""
    for metric, limit_s in promises:
        level, _, what = metric.removesuffix("_s").partition("_")
        if what not in _HISTOGRAMS or not (level == "mean" or level in LEVELS):
            raise BadInput(f"no metric of vLLM for {metric}; expected {', '.join(_HISTOGRAMS)}")
        record = f"mm1_planner:{level}_{what}_seconds"
        made.append({"record": record, "expr": _course(level, _HISTOGRAMS[what], selector, window)})
        made.append(
            _alert(
                f"Promise{level.capitalize()}{what.capitalize()}Missed",
                f"{record} > {limit_s:g}",
                f"{level} {what} is above {limit_s:g} s",
            )
        )
    if replicas is not None:
        kind = target.kind.lower()
        ready = "status_replicas_ready"
        where = f'{{namespace="{target.namespace}",{kind}="{target.name}"}}'
        made.append(
            _alert("FewerReplicasThanPlanned", f"kube_{kind}_{ready}{where} < {replicas}",
                   f"fewer than the {replicas} replicas of the plan are ready")
        )  # fmt: skip
    if rate_per_s is not None:
        query = QUERIES["arrivals"].replace("{SELECTOR}", selector).replace("WINDOW", window)
        made.append(
            _alert("TrafficBeyondPlan", f"{query} > {rate_per_s:g}",
                   f"more than the {rate_per_s:g} requests/s that the plan holds arrive: plan anew")
        )  # fmt: skip
    return {"groups": [{"name": f"mm1-planner-{target.name}", "interval": "30s", "rules": made}]}


def prometheus_rule(target: Target, file: dict[str, object]) -> dict[str, object]:
    """The rule file as a `monitoring.coreos.com/v1` PrometheusRule for the Prometheus Operator."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": target.name,
            "namespace": target.namespace,
            "labels": {"app.kubernetes.io/managed-by": "mm1-planner"},
        },
        "spec": file,
    }


def rate_held(rate_per_s: float, headroom: float) -> float:
    """The largest rate that a plan holds, rounded down to three digits."""
    rate = rate_per_s * headroom
    digits = 2 - math.floor(math.log10(rate))
    return math.floor(rate * 10**digits) / 10**digits if digits >= 0 else math.floor(rate)


def _course(level: str, histogram: str, selector: str, window: str) -> str:
    if level == "mean":
        total, count = (f"sum(rate({histogram}_{part}{selector}[{window}]))" for part in ("sum", "count"))
        return f"{total} / {count}"
    return (
        f"histogram_quantile({LEVELS[level]:g}, sum by (le) (rate({histogram}_bucket{selector}[{window}])))"
    )


def _alert(name: str, expression: str, summary: str) -> dict[str, object]:
    return {
        "alert": name,
        "expr": expression,
        "for": "5m",
        "labels": {"severity": "warning"},
        "annotations": {"summary": summary},
    }
