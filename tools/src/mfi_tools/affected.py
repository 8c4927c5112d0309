"""Which packages a change touches, with everything that needs them.

`python -m mfi_tools.affected --base origin/main` prints one folder a line; `--json` a list for a CI matrix.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mfi_tools.workspace import Member, members, root_folder, with_dependants

# A change here can alter the outcome of any package's tests.
SHARED = ("pyproject.toml", "uv.lock", "conftest.py", "justfile", "tools/", ".ci/", ".github/", "scripts/")


def affected(paths: Iterable[str], workspace: Mapping[str, Member]) -> set[str]:
    """Distributions that a change of `paths` (relative to the root, with slashes) can break.

    A changed root file that every package is tested with affects them all; one that no package reads
    (documentation, a README of the root) affects none.
    """
    changed = set(paths)
    if any(
        path == shared or (shared.endswith("/") and path.startswith(shared))
        for path in changed
        for shared in SHARED
    ):
        return set(workspace)
    direct = {
        name
        for name, member in workspace.items()
        if any(path.startswith(f"{member.folder}/") for path in changed)
    }
    return with_dependants(direct, workspace)


def changed_paths(root: Path, base: str) -> list[str]:
    """Paths that differ between the merge base with `base` and the working tree, untracked files included."""
    merge_base = _git(root, "merge-base", base, "HEAD").strip()
    tracked = _git(root, "diff", "--name-only", "-z", "--no-renames", merge_base)
    untracked = _git(root, "ls-files", "-z", "--others", "--exclude-standard")
    return sorted(path for path in (tracked + untracked).split("\0") if path)


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="affected", description=__doc__.partition("\n")[0])
    parser.add_argument("--base", default="origin/main", help="revision to compare with")
    parser.add_argument("--json", action="store_true", help="a JSON list")
    options = parser.parse_args(arguments)
    root = root_folder()
    workspace = members(root)
    names = affected(changed_paths(root, options.base), workspace)
    folders = [member.folder for name, member in workspace.items() if name in names]
    print(
        json.dumps(folders) if options.json else "\n".join(folders),
        end="\n" if folders or options.json else "",
    )


if __name__ == "__main__":
    main()
