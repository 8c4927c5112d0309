"""Every wheel works alone: built, installed into an empty environment, imported, and tested there.

A workspace ignores the bounds between siblings and finds modules that nobody declared; an index does
neither. So each package gets an environment with its own wheel, the wheels of the siblings it declares and
nothing else of this repository, first without its extras (import and `--help` must work) and then with them
and the test runner, and its tests run from a copy of its tests folder, away from the sources: all of them, or
with `--brief` a few of each file, as the root's conftest.py chooses.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mfi_tools.workspace import Member, members, root_folder, with_dependencies

RUNNER = ("pytest", "pytest-timeout", "hypothesis")
COUNTS = re.compile(r"^(?=.*\b(?:passed|failed|error|skipped|no tests ran)\b).* in [\d.]+s", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """How one wheel fared; `log` is what to read when it did not."""

    distribution: str
    passed: bool
    summary: str
    seconds: float
    log: str


class Failed(Exception):
    """A step that ended in an error; the message is the step, `log` its output."""

    def __init__(self, step: str, log: str) -> None:
        super().__init__(step)
        self.log = log


def build(root: Path, folder: Path) -> None:
    """Build the wheel of every member into `folder`."""
    _run("build", ["uv", "build", "--all-packages", "--wheel", "--quiet", "--out-dir", str(folder)], cwd=root)


def wheel_of(folder: Path, member: Member) -> Path:
    """The built wheel of a member."""
    stem = re.sub(r"[-_.]+", "_", member.distribution)
    return next(folder.glob(f"{stem}-{member.version}-*.whl"))


def requirements(folder: Path, name: str, workspace: Mapping[str, Member], *, extras: bool) -> list[str]:
    """What to install for `name`: its wheel and the wheels of the siblings it declares, directly or not.

    Siblings are named by file. An installer then still checks the bounds of every wheel against them, and
    never takes a package of the same name from an index.
    """
    wanted = []
    for sibling in sorted(with_dependencies(name, workspace)):
        member = workspace[sibling]
        mark = f"[{','.join(member.extras)}]" if extras and sibling == name and member.extras else ""
        wanted.append(f"{sibling}{mark} @ {wheel_of(folder, member).resolve().as_uri()}")
    return wanted


def constraints(root: Path, file: Path) -> None:
    """Write the locked versions of what comes from outside: a run is repeatable and its cache warm."""
    command = ["uv", "export", "--frozen", "--all-packages", "--all-extras", "--no-hashes", "--no-annotate",
               "--no-header", "--no-emit-workspace", "--quiet", "--output-file", str(file)]  # fmt: skip
    _run("export", command, cwd=root)


def copy_tests(root: Path, member: Member, target: Path) -> bool:
    """Copy a member's tests and README with the settings of the root; False if it has no tests."""
    source, copy = root / member.folder, target / member.folder
    if not (source / "tests").is_dir():
        return False
    shutil.copytree(source / "tests", copy / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(source / "README.md", copy)
    settings = (root / "pyproject.toml").read_text(encoding="utf-8")
    table = re.search(r"^\[tool\.pytest\.ini_options\]\n.*?(?=^\[|\Z)", settings, re.MULTILINE | re.DOTALL)
    (target / "pyproject.toml").write_text(table[0] if table else "", encoding="utf-8")
    if (root / "conftest.py").is_file():
        shutil.copy(root / "conftest.py", target)
    return True


def check_one(root: Path, built: Path, limits: Path, name: str, workspace: Mapping[str, Member]) -> Outcome:
    """Install one wheel alone, import it, ask its commands for help, and run its tests."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix=f"wheel-{name}-") as folder:
        try:
            summary = _steps(root, built, limits, workspace[name], workspace, Path(folder))
            passed, log = True, ""
        except Failed as failure:
            passed, summary, log = False, f"{failure} failed", failure.log
    return Outcome(name, passed, summary, time.perf_counter() - start, log)


def _steps(
    root: Path, built: Path, limits: Path, member: Member, workspace: Mapping[str, Member], folder: Path
) -> str:
    venv, work = folder / "venv", folder / "work"
    work.mkdir()
    python = venv / "bin" / "python"
    _run("venv", ["uv", "venv", "--quiet", "--python", sys.executable, str(venv)], cwd=work)
    install = ["uv", "pip", "install", "--quiet", "--python", str(python), "--constraint", str(limits)]
    name = member.distribution
    _run("install", [*install, *requirements(built, name, workspace, extras=False)], cwd=work)
    _run("import without extras", [str(python), "-c", f"import {member.module}"], cwd=work)
    for command in member.commands:
        _run(f"{command} --help", [str(venv / "bin" / command), "--help"], cwd=work)
    if not copy_tests(root, member, work):
        raise Failed("tests", f"{member.folder}/tests does not exist")
    _run(
        "install with extras",
        [*install, *requirements(built, name, workspace, extras=True), *RUNNER],
        cwd=work,
    )
    tests = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", f"{member.folder}/tests"]
    out = _run("tests", tests, cwd=work)
    counts = COUNTS.findall(out)
    return counts[-1].strip("= ") if counts else "no summary"


def _run(step: str, command: Sequence[str], *, cwd: Path) -> str:
    """Run a command without this environment's Python in its way; raise `Failed` if it fails."""
    ours = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")
    environment = {key: value for key, value in os.environ.items() if key not in ours}
    environment["HYPOTHESIS_PROFILE"] = "wheel"
    # Packages are tested side by side: threads that wait for the cores of others cost many times the work.
    environment.setdefault("OMP_NUM_THREADS", "1")
    if Path(command[0]).is_absolute():
        environment["PATH"] = f"{Path(command[0]).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Failed(step, f"$ {' '.join(command)}\n{done.stdout}")
    return done.stdout


def check(root: Path, names: Sequence[str], *, jobs: int) -> list[Outcome]:
    """Build all wheels and check those of `names`, `jobs` at a time, printing a line as each is done."""
    workspace = members(root)
    with tempfile.TemporaryDirectory(prefix="wheels-") as folder, ThreadPoolExecutor(jobs) as pool:
        built, limits = Path(folder) / "dist", Path(folder) / "constraints.txt"
        build(root, built)
        constraints(root, limits)
        running = [pool.submit(check_one, root, built, limits, name, workspace) for name in names]
        outcomes = []
        for task in running:
            outcome = task.result()
            outcomes.append(outcome)
            mark = "ok    " if outcome.passed else "FAILED"
            print(
                f"wheel {mark} {outcome.distribution:20} {outcome.seconds:6.1f} s  {outcome.summary}",
                flush=True,
            )
    return outcomes


def chosen(asked: Sequence[str], workspace: Mapping[str, Member]) -> list[str]:
    """Published distributions among `asked` (by distribution, folder or its last part); all of them for none.

    Raises
    ------
    SystemExit
        If one of `asked` is no member.
    """
    names = {
        key: member
        for member in workspace.values()
        for key in (member.distribution, member.folder, member.name)
    }
    unknown = [name for name in asked if name not in names]
    if unknown:
        known = ", ".join(member.name for member in workspace.values() if member.published)
        raise SystemExit(f"no package {', '.join(unknown)}; known are: {known}")
    found = [names[name] for name in asked] if asked else list(workspace.values())
    return list(dict.fromkeys(member.distribution for member in found if member.published))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="wheels", description=__doc__.partition("\n")[0])
    parser.add_argument("package", nargs="*", help="distribution or folder name; all of them if left out")
    parser.add_argument("--brief", action="store_true", help="a few tests of each file")
    parser.add_argument("--jobs", type=int, default=2, help="packages at a time")
    options = parser.parse_args(arguments)
    if options.brief:
        os.environ["MFI_TESTS"] = "brief"
    root = root_folder()
    workspace = members(root)
    wanted = chosen(options.package, workspace)
    if not wanted:
        print("wheels: nothing to check, none of these is published")
        return
    try:
        outcomes = check(root, wanted, jobs=options.jobs)
    except Failed as failure:
        raise SystemExit(f"wheels: {failure} failed\n{failure.log}") from None
    failed = [outcome for outcome in outcomes if not outcome.passed]
    for outcome in failed:
        print(f"\n== {outcome.distribution}: {outcome.summary}\n{outcome.log[-6000:]}", file=sys.stderr)
    print(f"wheels: {len(outcomes) - len(failed)} of {len(outcomes)} work alone")
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
