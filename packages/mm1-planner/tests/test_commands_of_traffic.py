"""plan, autoscale, export, fit, sweep and trace from outside: what they print, write, and refuse."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from mm1_planner.cli import main

PLAN = [
    "plan",
    "--arrival-rate",
    "10",
    "--service",
    "exp:0.3",
    "--slo",
    "p99_wait<0.5",
    "--customers",
    "20000",
]
SCALE = ["autoscale", "--profile", "0s=2/s,5min=20/s,10min=2/s", "--service", "exp:0.5",
         "--slo", "p99_wait<0.5", "--metric", "arrivals", "--target", "1.4"]  # fmt: skip


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str

    @property
    def answer(self) -> dict:
        return json.loads(self.stdout)


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """The command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["mm1-planner", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        return Done(int(stopped.value.code or 0), *capsys.readouterr())

    return call


def test_gpus_by_cost(run) -> None:
    kinds = ["--gpu", "L4=0.8:exp:0.9", "--gpu", "H100=9:exp:0.2"]
    rate = ["--arrival-rate", "10", "--slo", "p99_wait<0.5", "--customers", "20000", "--json"]
    answer = run("plan", *kinds, *rate).answer
    assert answer["gpu"] == "L4"
    assert [each["name"] for each in answer["gpus"]] == ["L4", "H100"]
    assert answer["servers"] == answer["gpus"][0]["servers"]
    table = run("plan", *kinds, *rate[:-1]).stdout
    assert "the cheapest first" in table


def test_classes_on_one_pool(run) -> None:
    asked = ["--class", "chat=6/s;exp:0.3;p99_wait<0.5", "--class", "batch=1/s;exp:2;p90_wait<6"]
    answer = run("plan", *asked, "--discipline", "priority", "--customers", "50000", "--json").answer
    assert [each["name"] for each in answer["kept"]] == ["chat", "batch"]
    assert answer["servers"] > 4
    assert "chat" in run("plan", *asked, "--customers", "20000").stdout


def test_a_batching_server_in_a_plan(run) -> None:
    asked = [
        "--prompt",
        "geometric:200",
        "--output-tokens",
        "geometric:50",
        "--slo",
        "p99_ttft<0.3, p99_itl<60ms",
    ]
    service = ["--service", "llm:alpha=12ms,beta=100us,delta=30us"]
    answer = run(
        "plan", "--arrival-rate", "40", *service, *asked, "--cost-per-server-hour", "3", "--json"
    ).answer
    assert [each["slo"] for each in answer["slos"]] == ["p99_ttft<0.3", "p99_itl<0.06"]
    assert answer["cost"]["per_hour"] == 3 * answer["servers"] == 3 * answer["replicas"]
    idle = run("plan", "--arrival-rate", "0", *service, *asked, "--min-servers", "2", "--json").answer
    assert (idle["servers"], idle["feasible"]) == (2, True)


def test_a_rate_of_zero_keeps_the_least(run) -> None:
    done = run("plan", "--arrival-rate", "0/s", "--service", "350ms", "--slo", "p99_wait<0.5", "--json")
    assert (done.returncode, done.answer["servers"], done.answer["basis"]) == (0, 1, "idle")


def test_a_profile_is_replayed(run) -> None:
    asked = [
        "--profile",
        "0s=2/s,5min=20/s,10min=2/s",
        "--service",
        "exp:0.5",
        "--slo",
        "p99_wait<0.5",
        "--json",
    ]
    answer = run("plan", *asked).answer
    assert answer["basis"] == "replay"
    assert answer["servers"] > answer["poisson_servers"]


def test_autoscale_then_export(run, tmp_path: Path) -> None:
    study = run(*SCALE, "--startup", "2min", "--scaler", "keda", "-o", "study.json", "--json")
    assert study.returncode == 0, study.stderr
    assert not study.answer["reactive"]["held"]
    assert study.answer["scheduled"]["held"]
    manifest = run("export", "--to", "keda", "--name", "llm", "--answer", "study.json", "--json").answer[
        "manifest"
    ]
    kinds = [trigger["type"] for trigger in manifest["spec"]["triggers"]]
    assert kinds[0] == "prometheus"
    assert "cron" in kinds
    done = run("export", "--to", "hpa", "--name", "llm", "--answer", "study.json", "--file", "hpa.yaml")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "hpa.yaml").read_text().startswith("apiVersion: autoscaling/v2\n")


def test_a_plan_makes_rules(run, tmp_path: Path) -> None:
    assert run(*PLAN, "-o", "plan.json").returncode == 0
    printed = run("export", "--to", "prometheus-rules", "--name", "llm", "--answer", "plan.json").stdout
    assert "FewerReplicasThanPlanned" in printed
    assert "TrafficBeyondPlan" in printed
    operator = run(
        "export", "--to", "prometheus-operator", "--name", "llm", "--slo", "p99_ttft<0.5", "--json"
    )
    assert operator.answer["manifest"]["kind"] == "PrometheusRule"


def test_a_sweep_by_formula_and_by_simulation(run) -> None:
    asked = ["--arrival-rate", "5/s,600/min", "--service", "exp:0.3", "--servers", "4..5,8"]
    formula = run("sweep", "--formula", *asked, "--json").answer["rows"]
    assert [(row["arrival_rate_per_s"], row["servers"]) for row in formula] == [
        (5, 4), (5, 5), (5, 8), (10, 4), (10, 5), (10, 8),
    ]  # fmt: skip
    pytest.importorskip("pyarrow")
    simulated = run("sweep", *asked, "--customers", "20000", "--store", "kept", "--json").answer["rows"]
    for by_formula, by_simulation in zip(formula, simulated, strict=True):
        assert by_simulation["mean_sojourn_s"] == pytest.approx(by_formula["mean_sojourn_s"], rel=0.2)
    again = run("sweep", *asked, "--customers", "20000", "--store", "kept", "--json").answer["rows"]
    assert again == simulated


def test_a_fit_of_files(run, tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client")
    names = []
    for number in range(12):
        decoding = [4 + 3 * step for step in range(number)]
        tokens = sum(30 * each / (0.02 + 1e-3 * each) for each in decoding)
        values = {
            "inter_token_latency_seconds_sum": 30.0 * sum(decoding),
            "inter_token_latency_seconds_count": tokens,
            "prompt_tokens_total": tokens * 2,
            "generation_tokens_total": tokens,
            "request_success_total": tokens / 100,
        }
        names.append(f"{number}.txt")
        (tmp_path / names[-1]).write_text("".join(f"vllm:{key} {value!r}\n" for key, value in values.items()))
    done = run("fit", *names, "--every", "30s", "--json")
    assert done.returncode == 0, done.stderr
    found = {each["name"]: each["value"] for each in done.answer["coefficients"]}
    assert found["alpha_s"] == pytest.approx(0.02, rel=0.05)
    assert done.answer["next"].startswith("mm1-planner llm --arrival-rate")
    assert "warning: 1 busy windows are too few" in run("fit", "1.txt", "2.txt").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan", "--arrival-rate", "1", "--service", "1"],
        ["plan", "--arrival-rate", "1", "--slo", "p99_wait<1"],
        ["plan", "--service", "1", "--slo", "p99_wait<1"],
        ["plan", "--arrival-rate", "1", "--trace", "x.csv", "--service", "1", "--slo", "p99_wait<1"],
        ["plan", "--arrival-rate", "1", "--service", "1", "--slo", "p99_wait<1", "--prompt", "5"],
        ["plan", "--arrival-rate", "1", "--service", "llm:beta=1ms", "--slo", "p99_ttft<1", "--prompt", "5"],
        ["plan", "--class", "a=1;exp:1;p99_wait<9", "--arrival-rate", "1"],
        ["plan", "--gpu", "A=1:exp:1", "--arrival-rate=1", "--slo", "p99_wait<9", "--cost-per-server-hour=1"],
        ["plan", "--trace", "none.csv", "--service", "1", "--slo", "p99_wait<1"],
        ["plan", "--profile", "0s=1", "--service", "1", "--slo", "p99_wait<1"],
        [*SCALE, "--startup", "-5s"],
        [*SCALE, "--target", "nan"],
        [*SCALE, "--up-policy", "pods"],
        ["export", "--to", "helm", "--name", "llm"],
        ["export", "--to", "keda", "--name", "llm"],
        ["export", "--to", "hpa", "--name", "LLM", "--metric", "queue", "--target", "1"],
        ["export", "--to", "keda", "--name", "llm", "--answer", "none.json"],
        ["fit"],
        ["fit", "one.txt"],
        ["fit", "--prometheus", "ftp://x"],
        ["sweep", "--arrival-rate", "5", "--service", "exp:0.3", "--servers", "8..4"],
        ["sweep", "--arrival-rate", "5", "--service", "exp:0.3", "--servers", "x"],
        ["sweep", "--arrival-rate", "5", "--service", "exp:0.3", "--servers", "4", "--executor", "threads"],
        ["trace", "none.csv"],
    ],
)  # fmt: skip
def test_bad_input_is_one_line(run, tmp_path: Path, arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", ["png", "svg", "html", "md", "csv"])
def test_a_trace_in_every_form(run, tmp_path: Path, ending: str) -> None:
    if ending in ("png", "svg", "html"):
        pytest.importorskip("matplotlib")
    (tmp_path / "log.csv").write_text("time\n" + "".join(f"{n}\n" for n in range(100)))
    done = run("trace", "log.csv", "-o", f"out.{ending}")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / f"out.{ending}").stat().st_size > 50


def test_the_page_of_a_plan_in_a_browser(run, tmp_path: Path) -> None:
    api = pytest.importorskip("playwright.sync_api")
    pytest.importorskip("matplotlib")
    import shutil

    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed")
    assert run(*PLAN, "--cost-per-server-hour", "2", "-o", "plan.html").returncode == 0
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text))
        page.on("request", lambda asked: problems.append(asked.url) if "plan.html" not in asked.url else None)
        page.goto((tmp_path / "plan.html").as_uri())
        headings = page.locator("h2").all_inner_texts()
        figure = page.locator("figure svg").bounding_box()
        sideways = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        rows = page.locator("table").nth(1).locator("tbody tr").all_inner_texts()
        browser.close()
    assert problems == []
    assert headings[:2] == ["Plan", "5 servers"]
    assert figure is not None
    assert figure["width"] > 600
    assert sideways == 0
    assert "p99_wait<0.5" in rows[0]
