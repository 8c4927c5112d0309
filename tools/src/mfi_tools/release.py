"""What a release of a package is: the next version, its change log, its tag.

`check` fails when fragments, versions or bounds do not fit together; `propose` writes the versions and
change logs of every package with fragments; `tags` prints the tags that are still to be made.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from packaging.version import Version

from mfi_tools.workspace import Member, members, root_folder

# Which part of the version a fragment moves while the major version is 0: a minor may break.
BUMPS = {"removed": "minor", "changed": "minor", "added": "minor", "fixed": "patch"}
FRAGMENT = re.compile(r"^(?:\+?[\w-]+)\.(?P<type>[a-z]+)(?:\.\d+)?\.md$")


def fragments(root: Path, member: Member) -> dict[str, str]:
    """Fragment file names of a member with their type ("" where the name has no known one)."""
    found = {}
    for path in sorted((root / member.folder / "changelog.d").glob("*")):
        if path.name.startswith(".") or path.name == "README.md":
            continue
        match = FRAGMENT.match(path.name)
        found[path.name] = match["type"] if match and match["type"] in BUMPS else ""
    return found


def next_version(current: str, types: set[str], *, released: bool) -> str:
    """The version that follows `current` after changes of `types`.

    A version that was never released is kept: the first release carries the number that the package was
    written under. From 1.0 on, what was removed or changed moves the major part.
    """
    if not released:
        return current
    version = Version(current)
    if "minor" not in {BUMPS[kind] for kind in types}:
        return f"{version.major}.{version.minor}.{version.micro + 1}"
    if version.major and types & {"removed", "changed"}:
        return f"{version.major + 1}.0.0"
    return f"{version.major}.{version.minor + 1}.0"


def tag(member: Member, version: str | None = None) -> str:
    """The name of a release's tag: the folder's name and the version."""
    return f"{member.name}-v{version or member.version}"


def existing_tags(root: Path) -> set[str]:
    done = subprocess.run(["git", "tag", "--list"], cwd=root, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def in_changelog(root: Path, member: Member) -> bool:
    """Whether the change log has a section for the current version."""
    text = (root / member.folder / "CHANGELOG.md").read_text(encoding="utf-8")
    return re.search(rf"^## {re.escape(member.version)} \(", text, re.MULTILINE) is not None


def problems(root: Path, workspace: Mapping[str, Member], tags: set[str]) -> list[str]:
    """What stands in the way of a release, one sentence each."""
    found = []
    for member in workspace.values():
        if not member.published:
            continue
        bad = [name for name, kind in fragments(root, member).items() if not kind]
        found += [
            f"{member.folder}/changelog.d/{name}: name it <issue or +word>.<{'|'.join(BUMPS)}>.md"
            for name in bad
        ]
        if tag(member) in tags and not in_changelog(root, member):
            found.append(f"{member.folder}: {tag(member)} is tagged but CHANGELOG.md has no section for it")
        for sibling, need in member.siblings.items():
            if not need.specifier.contains(workspace[sibling].version, prereleases=True):
                found.append(
                    f"{member.folder}: {need} excludes the {workspace[sibling].version} of this commit"
                )
    return found


def to_release(root: Path, workspace: Mapping[str, Member], tags: set[str]) -> dict[str, str]:
    """Distributions with fragments, and the version each of them gets."""
    return {
        name: next_version(member.version, set(types.values()), released=tag(member) in tags)
        for name, member in workspace.items()
        if member.published and (types := fragments(root, member))
    }


def propose(root: Path, workspace: Mapping[str, Member], versions: Mapping[str, str]) -> None:
    """Write new versions and change logs; the fragments are used up."""
    for name, version in versions.items():
        member = workspace[name]
        if version != member.version:
            _run(root, "uv", "version", "--package", name, "--frozen", version)
        _run(
            root, sys.executable, "-m", "towncrier", "build", "--yes", "--config", "towncrier.toml",
            "--dir", member.folder, "--name", name, "--version", version,
            "--date", datetime.now(UTC).date().isoformat(),
        )  # fmt: skip
        print(f"{name} {version}")
    _run(root, "uv", "lock")


def missing_tags(root: Path, workspace: Mapping[str, Member], tags: set[str]) -> list[dict[str, str]]:
    """Releases whose change log is written and whose tag does not exist, for the publishing workflow."""
    return [
        {"tag": tag(member), "distribution": name, "folder": member.folder, "version": member.version}
        for name, member in workspace.items()
        if member.published and tag(member) not in tags and in_changelog(root, member)
    ]


def _run(root: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="release", description=__doc__.partition("\n")[0])
    parser.add_argument("action", choices=["check", "propose", "tags"])
    action = parser.parse_args(arguments).action
    root = root_folder()
    workspace, tags = members(root), existing_tags(root)
    if action == "tags":
        print(json.dumps(missing_tags(root, workspace, tags)))
        return
    found = problems(root, workspace, tags)
    if found:
        raise SystemExit("\n".join(found))
    versions = to_release(root, workspace, tags)
    if action == "propose":
        propose(root, workspace, versions)
        after = members(root)
        broken = problems(root, after, tags)
        if broken:
            raise SystemExit(
                "\n".join(["the new versions break bounds; widen them in this proposal:", *broken])
            )
    else:
        print(f"releases fit together; waiting to be released: {', '.join(versions) or 'nothing'}")


if __name__ == "__main__":
    main()
