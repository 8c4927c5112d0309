"""Manifests against the official schemas of Kubernetes, and of KEDA's and the Prometheus Operator's CRDs."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfi_command import BadInput
from mm1_planner.autoscaling.laws import Behavior, Policy, Scaler
from mm1_planner.autoscaling.simulation import Floor
from mm1_planner.export.answers import read_answer
from mm1_planner.export.manifests import QUERIES, Target, hpa, keda
from mm1_planner.export.rules import prometheus_rule, rate_held, rules
from mm1_planner.export.yaml import to_yaml

TARGET = Target("llm.v2", "serving", selector='model_name="llama", pod=~"a\\\\.b|c",')
SCALERS = [
    Scaler("queue", 2.0),
    Scaler("concurrency", 0.75, least=2, most=40, up=Behavior(60, (Policy("pods", 2, 30),), "min")),
    Scaler("arrivals", 1.5, kind="keda", least=0, down=Behavior(select="disabled"), rate_window_s=120),
    Scaler("utilization", 0.7, kind="keda", up=Behavior()),
]
SCHEDULE = (Floor(0.0, 3), Floor(3290.0, 9), Floor(7200.0, 0), Floor(9000.0, 4))
PROMISES = [("p99_ttft_s", 0.5), ("p999_itl_s", 0.03), ("mean_wait_s", 1.0), ("p50_sojourn_s", 9.0)]


def rule_file() -> dict[str, Any]:
    return rules(TARGET, PROMISES, replicas=5, rate_per_s=12.5)


def round_trip(model: Any, manifest: dict[str, Any]) -> None:
    """The model takes the manifest, and gives every field of it back: it knows them all."""
    assert (
        model.model_validate(manifest).model_dump(by_alias=True, exclude_none=True, mode="json") == manifest
    )


@pytest.mark.parametrize("scaler", SCALERS[:2])
def test_an_hpa_passes_the_schemas_of_kubernetes(scaler: Scaler) -> None:
    validate = pytest.importorskip(
        "kubernetes_validate", reason="the schemas of Kubernetes are not installed"
    )
    manifest = hpa(TARGET, scaler)
    for version in ("1.27", "1.31"):
        validate.validate(manifest, version, strict=True)
    broken = json.loads(json.dumps(manifest))
    broken["spec"]["maxReplica"] = broken["spec"].pop("maxReplicas")
    with pytest.raises(validate.ValidationError):
        validate.validate(broken, "1.31", strict=True)


@pytest.mark.parametrize("scaler", SCALERS)
@pytest.mark.parametrize("schedule", [(), SCHEDULE])
def test_a_scaled_object_passes_the_model_of_its_crd(scaler: Scaler, schedule: tuple[Floor, ...]) -> None:
    models = pytest.importorskip("cloudcoil.models.keda.v1alpha1", reason="KEDA's models are not installed")
    manifest = keda(TARGET, scaler, schedule=schedule)
    round_trip(models.ScaledObject, manifest)
    manifest["spec"]["pollingIntervall"] = 3  # type: ignore[index]
    with pytest.raises(AssertionError):
        round_trip(models.ScaledObject, manifest)


@pytest.mark.slow
def test_a_prometheus_rule_passes_the_model_of_its_crd() -> None:
    models = pytest.importorskip(
        "cloudcoil.models.prometheus_operator.v1", reason="the Prometheus Operator's models are not installed"
    )
    round_trip(models.PrometheusRule, prometheus_rule(TARGET, rule_file()))


def test_promtool_accepts_the_rules_and_the_queries(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian's package prometheus)")
    file = tmp_path / "rules.yaml"
    made = rule_file()
    made["groups"][0]["rules"] += [
        {"record": f"query:{number}", "expr": TARGET.promql(scaler)} for number, scaler in enumerate(SCALERS)
    ]
    file.write_text(to_yaml(made))
    done = subprocess.run([promtool, "check", "rules", str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "14 rules found" in done.stdout
    file.write_text(to_yaml(made).replace("rate(", "rte("))
    assert subprocess.run([promtool, "check", "rules", str(file)], capture_output=True).returncode != 0


def test_cron_triggers_begin_early_and_end_late() -> None:
    triggers = keda(TARGET, SCALERS[0], schedule=SCHEDULE, start="07:30", timezone="Europe/Berlin")["spec"]
    crons = [each["metadata"] for each in triggers["triggers"][1:]]  # type: ignore[index]
    # 3290 s are 54.8 minutes: the need begins at minute 54, and the one before it ends at 55.
    assert [(c["start"], c["end"], c["desiredReplicas"]) for c in crons] == [
        ("30 7 * * *", "25 8 * * *", "3"),
        ("24 8 * * *", "30 9 * * *", "9"),
        ("0 10 * * *", "30 7 * * *", "4"),
    ]
    assert crons[0]["timezone"] == "Europe/Berlin"


def test_a_need_of_a_whole_day_has_an_end() -> None:
    spec = keda(TARGET, SCALERS[0], schedule=(Floor(0.0, 2),))["spec"]
    cron = spec["triggers"][1]["metadata"]  # type: ignore[index]
    assert (cron["start"], cron["end"]) == ("0 0 * * *", "59 23 * * *")


@pytest.mark.parametrize("metric", QUERIES)
def test_queries_take_the_selector_and_the_window(metric: str) -> None:
    text = TARGET.promql(Scaler(metric, 0.5, rate_window_s=90))
    assert text.count(f"{{{TARGET.selector}}}") == text.count("vllm:")
    assert "WINDOW" not in text
    assert ("[90s]" in text) == (metric == "arrivals")
    assert Target("llm", query="sum(up)").promql(Scaler(metric, 0.5)) == "sum(up)"


@pytest.mark.parametrize(
    "call",
    [
        lambda: Target("LLM"),
        lambda: Target("llm..v2"),
        lambda: Target("l" * 64),
        lambda: Target("llm", namespace="a.b"),
        lambda: Target("llm", selector='a="b'),
        lambda: Target("llm", selector="{a=1}"),
        lambda: Target("llm", server="prometheus:9090"),
        lambda: Target("llm", kind="Pod"),
        lambda: hpa(TARGET, SCALERS[2]),
        lambda: keda(TARGET, SCALERS[0], start="25:00", schedule=SCHEDULE),
        lambda: keda(TARGET, SCALERS[0], schedule=(Floor(90_000.0, 1),)),
        lambda: rules(TARGET, []),
        lambda: rules(TARGET, [("p99_hope_s", 1.0)]),
    ],
)
def test_what_no_manifest_can_be_made_of(call: Any) -> None:
    with pytest.raises(BadInput):
        call()


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.text(), VALUES, min_size=1, max_size=3))
def test_yaml_reads_back(value: dict[str, object]) -> None:
    yaml = pytest.importorskip("yaml")
    assert yaml.safe_load(to_yaml(value)) == value


def test_the_rate_held_is_rounded_down() -> None:
    assert rate_held(10.0, 1.2345) == 12.3
    assert rate_held(1000.0, 1.2389) == 1238


def test_answers_that_are_none(tmp_path: Path) -> None:
    file = tmp_path / "answer.json"
    for text, reason in (
        ("{", "no JSON"),
        ("[]", "no answer"),
        ('{"tool": "mm1-planner", "scaler": {}}', "another version"),
        ('{"tool": "mm1-planner", "feasible": false}', "infeasible"),
        ('{"tool": "mm1-planner"}', "no answer of plan"),
    ):
        file.write_text(text)
        with pytest.raises(BadInput, match=reason):
            read_answer(file)
