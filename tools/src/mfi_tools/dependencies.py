"""Every import of a package is declared by that package, and every declared dependency is imported.

deptry sees one project at a time; in a workspace it has to be told which modules the siblings hold.
Exceptions stand in the package's own `[tool.deptry.per_rule_ignores]`, each with its reason.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from mfi_tools.workspace import Member, members, root_folder


def deptry(root: Path, member: Member, names: str) -> tuple[bool, str]:
    """Run deptry on one member; `names` maps distributions to modules in deptry's form."""
    command = [sys.executable, "-m", "deptry", "src", "--no-ansi", "--package-module-name-map", names,
               "--known-first-party", member.module]  # fmt: skip
    done = subprocess.run(
        command,
        cwd=root / member.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode == 0, done.stdout


def main() -> None:
    root = root_folder()
    workspace = members(root)
    # The command contract brings Typer with it: its one bound is declared there, every cli.py imports it.
    extra = {"mfi-command": "|typer"}
    names = ",".join(f"{name}={member.module}{extra.get(name, '')}" for name, member in workspace.items())
    broken = 0
    for member in workspace.values():
        fine, text = deptry(root, member, names)
        if not fine:
            broken += 1
            print(f"== {member.folder}\n{text}")
    print(f"dependencies: {len(workspace) - broken} of {len(workspace)} members declare what they import")
    if broken:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
