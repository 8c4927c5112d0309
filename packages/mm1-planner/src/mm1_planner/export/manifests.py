"""Manifests of an autoscaler: a HorizontalPodAutoscaler, or KEDA's ScaledObject with its schedule."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from mfi_command import BadInput
from mm1_planner.autoscaling.laws import Behavior, Scaler
from mm1_planner.autoscaling.simulation import Floor

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_NAMESPACE = re.compile(_LABEL)
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_LONGEST = 63
"""KEDA and the HPA repeat the name in labels, which are no longer."""

_MATCHER = r'[a-zA-Z_][a-zA-Z0-9_]*\s*(=|!=|=~|!~)\s*"([^"\\\n]|\\.)*"'
_SELECTOR = re.compile(rf"\s*({_MATCHER}\s*(,\s*{_MATCHER}\s*)*,?\s*)?")
_DAY_MIN = 24 * 60
_LABELS = {"app.kubernetes.io/managed-by": "mm1-planner"}

QUERIES = {
    "queue": "sum(vllm:num_requests_waiting{SELECTOR})",
    "concurrency": "sum(vllm:num_requests_waiting{SELECTOR}) + sum(vllm:num_requests_running{SELECTOR})",
    # What completes is not what comes: in an overload only the backlog's growth tells.
    "arrivals": (
        "sum(rate(vllm:request_success_total{SELECTOR}[WINDOW])) + "
        "sum(deriv(vllm:num_requests_waiting{SELECTOR}[WINDOW])) + "
        "sum(deriv(vllm:num_requests_running{SELECTOR}[WINDOW]))"
    ),
    "utilization": "sum(vllm:kv_cache_usage_perc{SELECTOR})",
}
"""What is scaled on, as queries of vLLM's metrics in sum over the replicas."""


@dataclass(frozen=True)
class Target:
    """What is scaled.

    Attributes
    ----------
    name, namespace, kind : str
        Of the workload, such as a Deployment.
    server : str
        Address of Prometheus, for KEDA.
    selector : str
        Labels in the queries, such as `model_name="llama"`.
    query : str or None
        A query of your own instead of `QUERIES`; in sum over the replicas.
    """

    name: str
    namespace: str = "default"
    kind: str = "Deployment"
    server: str = "http://prometheus.monitoring.svc:9090"
    selector: str = ""
    query: str | None = None

    def __post_init__(self) -> None:
        for what, text, form in (("name", self.name, _NAME), ("namespace", self.namespace, _NAMESPACE)):
            if len(text) > _LONGEST or not form.fullmatch(text):
                raise BadInput(
                    f"{what} {text!r} is no name in Kubernetes; expected 1 to {_LONGEST} of a-z, 0-9 and '-'"
                )
        if not _SELECTOR.fullmatch(self.selector):
            raise BadInput(f'selector {self.selector!r} is not understood; expected label="value", ...')
        if not self.server.startswith(("http://", "https://")):
            raise BadInput(f"server {self.server!r} is no URL; expected such as http://prometheus:9090")
        if self.kind not in ("Deployment", "StatefulSet"):
            raise BadInput(f"kind {self.kind!r} is not known; expected Deployment or StatefulSet")

    def promql(self, scaler: Scaler) -> str:
        """The query of the scaler's metric."""
        text = self.query if self.query is not None else QUERIES[scaler.metric]
        window = f"{max(1, round(scaler.rate_window_s))}s"
        selector = f"{{{self.selector}}}" if self.selector else ""
        return text.replace("{SELECTOR}", selector).replace("WINDOW", window)


def hpa(target: Target, scaler: Scaler) -> dict[str, object]:
    """An `autoscaling/v2` HorizontalPodAutoscaler on an external metric named `mm1_planner_<metric>`.

    A metrics adapter has to serve that metric from the query in the annotation.

    Raises
    ------
    BadInput
        If the scaler goes to 0, which the HPA does not.
    """
    if scaler.least == 0:
        raise BadInput("an HPA keeps at least one replica: use KEDA, or a least of 1")
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": _metadata(target, {"mm1-planner/query": target.promql(scaler)}),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": target.kind, "name": target.name},
            "minReplicas": scaler.least,
            "maxReplicas": scaler.most,
            "metrics": [
                {
                    "type": "External",
                    "external": {
                        "metric": {"name": f"mm1_planner_{scaler.metric}"},
                        "target": {"type": "AverageValue", "averageValue": _quantity(scaler.target)},
                    },
                }
            ],
            "behavior": _behavior(scaler),
        },
    }


def keda(target: Target, scaler: Scaler, *, schedule: Sequence[Floor] = (), start: str = "00:00",
         timezone: str = "UTC") -> dict[str, object]:  # fmt: skip
    """A `keda.sh/v1alpha1` ScaledObject on a Prometheus query, and on a cron trigger for each scheduled need.

    Parameters
    ----------
    schedule : sequence of Floor
        Least replicas by time since `start`, as a study gives them; repeated every day.
    start : str
        Time of day at which the schedule begins, `HH:MM`.
    timezone : str
        Of `start`, by its IANA name.

    Raises
    ------
    BadInput
        If `start` is no time of day or the schedule is longer than a day.
    """
    triggers: list[dict[str, object]] = [
        {
            "type": "prometheus",
            "metricType": "AverageValue",
            "metadata": {
                "serverAddress": target.server,
                "query": target.promql(scaler),
                "threshold": f"{scaler.target:g}",
                "activationThreshold": "0",
            },
        }
    ]
    triggers += [_cron(entry, timezone) for entry in _spans(schedule, _minute(start))]
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": _metadata(target, {}),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": target.kind, "name": target.name},
            "pollingInterval": max(1, round(scaler.polling_s)),
            "cooldownPeriod": round(scaler.cooldown_s),
            "minReplicaCount": scaler.least,
            "maxReplicaCount": scaler.most,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _behavior(scaler)}},
            "triggers": triggers,
        },
    }


def _metadata(target: Target, annotations: dict[str, str]) -> dict[str, object]:
    common: dict[str, object] = {"name": target.name, "namespace": target.namespace, "labels": _LABELS}
    return common | ({"annotations": annotations} if annotations else {})


def _behavior(scaler: Scaler) -> dict[str, object]:
    return {"scaleUp": _side(scaler.up), "scaleDown": _side(scaler.down)}


def _side(side: Behavior) -> dict[str, object]:
    rules: dict[str, object] = {
        "stabilizationWindowSeconds": round(side.window_s),
        "selectPolicy": side.select.capitalize(),
    }
    policies = [
        {
            "type": policy.kind.capitalize(),
            "value": policy.value,
            "periodSeconds": max(1, round(policy.period_s)),
        }
        for policy in side.policies
    ]
    return rules | ({"policies": policies} if policies else {})


def _quantity(value: float) -> str:
    """A Kubernetes quantity: whole, or in thousandths."""
    return f"{value:.0f}" if value == round(value) else f"{max(1, round(value * 1000))}m"


def _minute(start: str) -> int:
    match = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", start.strip())
    if match is None:
        raise BadInput(f"start {start!r} is no time of day; expected HH:MM such as 08:00")
    return int(match[1]) * 60 + int(match[2])


def _spans(schedule: Sequence[Floor], first_min: int) -> list[tuple[int, int, int]]:
    """Start and end minute of the day and replicas of each need above 0; starts early, ends late."""
    if schedule and schedule[-1].start_s > _DAY_MIN * 60:
        raise BadInput("the schedule is longer than a day; a daily cron cannot hold it")
    if not schedule:
        return []
    spans = []
    ends = [entry.start_s for entry in schedule[1:]] + [_DAY_MIN * 60.0]
    for entry, end in zip(schedule, ends, strict=True):
        begin_min, end_min = math.floor(entry.start_s / 60), math.ceil(end / 60)
        if entry.replicas > 0 and end_min > begin_min:
            spans.append((first_min + begin_min, first_min + end_min, entry.replicas))
    return spans


def _cron(span: tuple[int, int, int], timezone: str) -> dict[str, object]:
    begin, end, replicas = span
    # A trigger whose start and end are one minute would never be on: a whole day ends a minute early.
    if (end - begin) % _DAY_MIN == 0:
        end -= 1
    times = {name: f"{at % 60} {at // 60 % 24} * * *" for name, at in (("start", begin), ("end", end))}
    return {"type": "cron", "metadata": {"timezone": timezone, **times, "desiredReplicas": str(replicas)}}
