"""Every import of a package is declared by that package, and every declared dependency is imported.

deptry sees one project at a time and import statements only. In a workspace it has to be told which modules
the siblings hold, and which optional modules are loaded by `mfi_command.require`; what those calls advise to
install is checked here. Exceptions stand in the package's own `[tool.deptry.per_rule_ignores]`, each with its
reason.
"""

from __future__ import annotations

import ast
import importlib.metadata
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from mfi_tools.workspace import Member, members, root_folder


def required(source: Path) -> Iterator[tuple[str, str, str, str]]:
    """Module, extra, distribution and place of each call `require("module", extra=..., distribution=...)`."""
    for file in sorted(source.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not (
                isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "require"
            ):
                continue
            values = {keyword.arg or "": _text(keyword.value) for keyword in node.keywords}
            module = _text(node.args[0]) if node.args else ""
            yield (
                module.partition(".")[0],
                values.get("extra", ""),
                values.get("distribution", ""),
                f"{file.relative_to(source)}:{node.lineno}",
            )


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def wrong_advice(root: Path, member: Member) -> list[str]:
    """Calls of `require` that advise to install something that would not help, one sentence each."""
    table = _project(root, member)["project"].get("optional-dependencies", {})
    extras = {
        extra: {Requirement(line).name.replace("-", "_") for line in lines} for extra, lines in table.items()
    }
    # A module need not be called what brings it: flint comes with python-flint.
    brought_by = importlib.metadata.packages_distributions()
    return [
        f"src/{place}: require({module!r}) advises {distribution}[{extra}], which does not bring {module}"
        for module, extra, distribution, place in required(root / member.folder / "src")
        if distribution != member.distribution
        or not extras.get(extra, set())
        & {module, *(name.replace("-", "_") for name in brought_by.get(module, []))}
    ]


def deptry(root: Path, member: Member, names: str) -> tuple[bool, str]:
    """Run deptry on one member; `names` maps distributions to modules in deptry's form."""
    ignored: dict[str, list[str]] = (
        _project(root, member).get("tool", {}).get("deptry", {}).get("per_rule_ignores", {})
    )
    loaded = {module for module, *_ in required(root / member.folder / "src")}
    rules = {**ignored, "DEP002": sorted({*ignored.get("DEP002", []), *loaded})}
    mapping = ",".join(f"{rule}={'|'.join(modules)}" for rule, modules in rules.items() if modules)
    command = [sys.executable, "-m", "deptry", "src", "--no-ansi", "--package-module-name-map", names,
               "--known-first-party", member.module]  # fmt: skip
    if mapping:
        command += ["--per-rule-ignores", mapping]
    done = subprocess.run(
        command,
        cwd=root / member.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode == 0, done.stdout


def _project(root: Path, member: Member) -> dict[str, Any]:
    return tomllib.loads((root / member.folder / "pyproject.toml").read_text(encoding="utf-8"))


def main() -> None:
    root = root_folder()
    workspace = members(root)
    # The command contract brings Typer with it: its one bound is declared there, every cli.py imports it.
    extra = {"mfi-command": "|typer"}
    names = ",".join(f"{name}={member.module}{extra.get(name, '')}" for name, member in workspace.items())
    broken = 0
    for member in workspace.values():
        fine, text = deptry(root, member, names)
        advice = wrong_advice(root, member)
        if advice or not fine:
            broken += 1
            print(f"== {member.folder}", *advice, "" if fine else text, sep="\n")
    print(f"dependencies: {len(workspace) - broken} of {len(workspace)} members declare what they import")
    if broken:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
