"""The command from outside: stdout, stderr, exit code, files."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from mm1_planner.cli import main

PLAN = ["plan", "--arrival-rate", "10", "--service", "exp:0.3"]
QUICK = ["simulate", "--arrival-rate", "1", "--service", "det:0.5", "--customers", "2500", "--json"]


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """The command in this process: starting Python and loading numba anew takes seconds each time."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["mm1-planner", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        return Done(int(stopped.value.code or 0), out, err)

    return call


def test_a_process_of_its_own() -> None:
    code = "from mm1_planner.cli import main; main()"
    command = [sys.executable, "-c", code, "solve", "--arrival-rate", "-5", "--service-rate", "8"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert_refused(Done(done.returncode, done.stdout, done.stderr))


def test_solve_prints_formula_and_simulation_side_by_side(run) -> None:
    done = run("solve", "--arrival-rate", "5/s", "--service-rate", "480/min", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["tool"] == "mm1-planner"
    assert answer["model"] == "M/M/1"
    assert answer["utilization"] == 0.625
    assert answer["mean_sojourn_s"] == pytest.approx(1 / 3)
    assert answer["mean_in_queue"] == pytest.approx(0.625**2 / 0.375)
    low, high = answer["simulated"]["ci95"]["p99_wait_s"]
    assert low < answer["simulated"]["p99_wait_s"] < high
    assert "p999_sojourn_s" in answer["simulated"]
    table = run("solve", "--arrival-rate", "5", "--service-rate", "8").stdout
    assert "p99_wait_s" in table
    assert "1.378" in table


def test_overload_is_an_answer(run) -> None:
    done = run("solve", "--arrival-rate", "9", "--service-rate", "4", "--servers", "2", "--json")
    assert done.returncode == 0
    answer = json.loads(done.stdout)
    assert answer["stable"] is False
    assert answer["utilization"] == 1.125
    assert answer["mean_wait_s"] is None
    assert answer["simulated"] is None
    assert "unstable: the load is 1.125" in answer["verdict"]
    assert "-" not in run("solve", "--arrival-rate", "9", "--service-rate", "8").stdout.replace("95 %", "")


def test_plan_answers_and_draws(run, tmp_path: Path) -> None:
    done = run(*PLAN, "--slo", "p99_wait<0.5", "--cost-per-server-hour", "2", "--json", "-o", "p.json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["feasible"] is True
    assert answer["servers"] == 5
    assert answer["cost"]["per_hour"] == 10
    assert answer["simulated"]["p99_wait_s"] < 0.5 <= answer["fewer"]["p99_wait_s"]
    assert json.loads((tmp_path / "p.json").read_text())["servers"] == 5


def test_plan_draws_a_figure(run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = run(*PLAN, "--slo", "p99_wait<0.5", "-o", "plan.svg")
    assert done.returncode == 0, done.stderr
    assert "<svg" in (tmp_path / "plan.svg").read_text()


def test_infeasible_is_exit_code_one(run) -> None:
    done = run(*PLAN, "--slo", "p99_sojourn<1", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["feasible"] is False
    assert "INFEASIBLE: the p99 of the service alone" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_trace_and_simulate(run, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("time,n\n" + "".join(f"{i // 5},{i}\n" for i in range(1000)))
    answer = json.loads(run("trace", "log.csv", "--json").stdout)
    assert answer["requests"] == 1000
    assert answer["columns"] == ["n"]
    assert answer["rate_per_s"] == pytest.approx(999 / 199)
    done, readable = run(*QUICK), run(*QUICK, "--engine", "simpy")
    fast, simpy = json.loads(done.stdout), json.loads(readable.stdout)
    assert fast["p50_sojourn_s"] >= 0.5
    assert fast["mean_wait_s"] == simpy["mean_wait_s"] > 0


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf", "1e308", "much", ""])
def test_absurd_rates(run, rate: str) -> None:
    assert_refused(run("solve", f"--arrival-rate={rate}", "--service-rate=8"))


@pytest.mark.parametrize(
    ("service", "slo"),
    [
        ("__import__('os').system('touch owned')", "p99_wait<1"),
        ("0.1*Tokns", "p99_wait<1"),
        ("0.1*n", "p99<1"),
    ],
)
def test_a_trace_with_a_bad_question(run, tmp_path: Path, service: str, slo: str) -> None:
    (tmp_path / "log.csv").write_text("time,n\n1,2\n2,3\n")
    done = run("plan", "--trace", "log.csv", "--service", service, "--slo", slo, "-o", "p.json")
    assert_refused(done)
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]


@pytest.mark.parametrize("text", ["", "time\n", "a,b\n1,2\n2,3\n", "time\nnan\n1\n"])
def test_files_that_are_no_trace(run, tmp_path: Path, text: str) -> None:
    (tmp_path / "log.csv").write_text(text)
    assert_refused(run("trace", "log.csv"))


def test_other_usage_errors(run, tmp_path: Path) -> None:
    assert_refused(run("trace", "missing.csv"))
    assert_refused(run("solve", "--arrival-rate", "5"))
    for wrong in (["--servers", "0"], ["--scv", "nan"], ["--scv", "2", "--capacity", "3"], ["--engine", "x"]):
        assert_refused(run("solve", "--arrival-rate", "5", "--service-rate", "8", *wrong))
    assert_refused(run("plan", "--service", "1", "--slo", "p99_wait<1"))


def assert_refused(done: Done) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "error" in done.stderr


def test_llm_answers_with_both_numbers_and_refuses_the_hopeless(run) -> None:
    asked = ["llm", "--arrival-rate", "20", "--prompt", "geometric:300", "--output-tokens", "geometric:60"]
    asked += ["--alpha", "10ms", "--beta", "100us", "--delta", "20us"]
    result = run(*asked, "--slo", "p99_ttft<0.3", "--slo", "mean_itl<30ms", "--json")
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["feasible"]
    assert answer["analytic"]["mean_itl_s"] == pytest.approx(answer["simulated"]["mean_itl_s"], rel=0.05)
    assert all(each["measured_s"] < each["limit_s"] for each in answer["slos"])
    hopeless = run(*asked, "--slo", "p50_ttft<1ms")
    assert hopeless.returncode == 1
    assert "INFEASIBLE" in hopeless.stderr


@pytest.mark.parametrize(
    "change",
    [
        ["--alpha", "nan"],
        ["--alpha", "0"],
        ["--prompt", "1e30"],
        ["--slo", "p99_wait<1"],
        ["--routing", "best"],
        ["--arrival-rate", "-1"],
    ],
)
def test_llm_refuses_absurd_input_in_one_line(run, change: list[str]) -> None:
    asked = {
        "--arrival-rate": "20",
        "--prompt": "300",
        "--output-tokens": "60",
        "--alpha": "10ms",
        "--slo": "p99_ttft<1",
    }
    asked[change[0]] = change[1]
    result = run("llm", *(word for pair in asked.items() for word in pair))
    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1
