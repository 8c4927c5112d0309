"""One set of recipes: what CI runs, what the workflows run and what the README says are the same."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
REPORT, TEST = "pip install -q uv && uv run mfi report", "pip install -q uv && uv run pytest"


def recipes() -> dict[str, list[str]]:
    """Each recipe of the justfile with the recipes it depends on."""
    text = (ROOT / "justfile").read_text(encoding="utf-8")
    found = re.findall(r"^@?([a-z][\w-]*)(?: [^:=\n]*(?:=\"[^\"]*\")?)?:(?!=)(.*)$", text, re.MULTILINE)
    return {name: needs.split() for name, needs in found}


def calls(text: str) -> set[str]:
    return set(re.findall(r"uv run just ([a-z][\w-]*)", text))


def steps(workflow: Path) -> list[dict]:
    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"].values()
    return [step for job in jobs for step in job["steps"]]


def matrix(workflow: Path) -> set[str]:
    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"].values()
    return {recipe for job in jobs for recipe in job.get("strategy", {}).get("matrix", {}).get("recipe", [])}


def test_the_readme_has_the_two_commands():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in (REPORT, TEST):
        assert re.search(rf"^{re.escape(command)}$", text, re.MULTILINE), command


def test_contributing_has_them_too():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert f"$ {REPORT}\n" in text
    assert f"$ {TEST}\n" in text


def test_ci_runs_the_readmes_commands():
    lines = [line.strip() for line in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()]
    assert any(line == TEST or line.startswith(f"{TEST} ") for line in lines)  # it may share the tests out
    assert REPORT in lines


def test_ci_runs_every_part_of_check():
    text = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    looped = re.search(r"for recipe in ([a-z ]+); do\n\s+stage \"\$recipe\" uv run just \"\$recipe\"", text)
    assert looped
    assert ["test", *looped[1].split()] == recipes()["check"]


def test_the_test_recipe_is_the_readmes_command():
    text = (ROOT / "justfile").read_text(encoding="utf-8")
    assert "\ntest *arguments:\n    uv run pytest {{ arguments }}\n" in text


def test_workflows_run_every_part_of_check():
    ci = ROOT / ".github" / "workflows" / "ci.yml"
    assert calls(ci.read_text(encoding="utf-8")) | matrix(ci) >= set(recipes()["check"])


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_call_recipes_that_exist(workflow):
    called = calls(workflow.read_text(encoding="utf-8")) | matrix(workflow)
    assert called <= set(recipes()), called - set(recipes())


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_are_thin(workflow):
    """A step is one command: a recipe, a script of ours, or gh."""
    for step in steps(workflow):
        run = step.get("run")
        if run is not None:
            assert "\n" not in run.strip(), run
            inner = re.search(r"\$\((.*)\)", run)
            words = shlex.split(inner[1] if inner else run)
            assert (
                words[:3] == ["uv", "run", "just"] or words[0].startswith("scripts/") or words[0] == "gh"
            ), run


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_and_permissions_named(workflow):
    content = yaml.safe_load(workflow.read_text(encoding="utf-8"))
    assert content["permissions"] == {}, "nothing by default; each job names what it needs"
    for job in content["jobs"].values():
        assert "permissions" in job
        assert job["timeout-minutes"] <= 180
        for step in job["steps"]:
            assert re.search(r"@[0-9a-f]{40}$", step.get("uses", "@" + "0" * 40)), step


def test_the_workflows_of_the_design_are_there():
    assert {path.stem for path in WORKFLOWS} == {
        "bench",
        "ci",
        "docs",
        "gpu",
        "nightly",
        "release",
        "release-propose",
    }


def test_every_recipe_says_what_it_does():
    lines = (ROOT / "justfile").read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if re.match(r"@?[a-z][\w-]*(?: .*)?:(?!=)", line):
            assert lines[number - 1].startswith("# "), f"no comment over {line}"


def test_pre_commit_hooks_need_no_network():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert [repo["repo"] for repo in hooks] == ["local"]
    assert all(hook["language"] == "system" for repo in hooks for hook in repo["hooks"])
