"""What the workspace holds: its members, read from their pyproject.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

PATTERNS = ("packages/*", "apps/*", "tools")


@dataclass(frozen=True)
class Member:
    """One distribution of the workspace.

    Attributes
    ----------
    folder
        Relative to the root, with slashes: "packages/roofline".
    siblings
        Distributions of the workspace that it needs, each with its requirement.
    """

    folder: str
    distribution: str
    module: str
    version: str
    siblings: Mapping[str, Requirement]
    extras: tuple[str, ...]
    commands: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its short name, the last part of the folder; tags are made of it."""
        return self.folder.rpartition("/")[2]

    @property
    def published(self) -> bool:
        """Whether it goes to an index; the tools do not."""
        return self.folder != "tools"


def root_folder() -> Path:
    """The root of the workspace around the current directory.

    Raises
    ------
    SystemExit
        If no parent directory has a pyproject.toml with a workspace.
    """
    for folder in (Path.cwd(), *Path.cwd().parents):
        project = folder / "pyproject.toml"
        if project.is_file() and "[tool.uv.workspace]" in project.read_text(encoding="utf-8"):
            return folder
    raise SystemExit(f"no uv workspace at or above {Path.cwd()}; run this inside the repository")


def members(root: Path) -> dict[str, Member]:
    """Every member by its distribution name, in the order of its folder."""
    folders = sorted(path.parent for pattern in PATTERNS for path in root.glob(f"{pattern}/pyproject.toml"))
    tables = {
        folder: tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8")) for folder in folders
    }
    names = {table["project"]["name"] for table in tables.values()}
    return {
        table["project"]["name"]: _member(folder.relative_to(root).as_posix(), table, names)
        for folder, table in tables.items()
    }


def _member(folder: str, table: dict[str, Any], names: set[str]) -> Member:
    project = table["project"]
    extras: dict[str, list[str]] = project.get("optional-dependencies", {})
    lines = [*project.get("dependencies", []), *(line for extra in extras.values() for line in extra)]
    needs = [Requirement(line) for line in lines]
    return Member(
        folder=folder,
        distribution=project["name"],
        module=table["tool"]["uv"]["build-backend"]["module-name"],
        version=project["version"],
        siblings={need.name: need for need in needs if need.name in names},
        extras=tuple(extras),
        commands=tuple(project.get("scripts", {})),
    )


def with_dependants(changed: set[str], workspace: Mapping[str, Member]) -> set[str]:
    """`changed` and every member that needs one of them, directly or through another."""
    reached = set(changed)
    while True:
        more = {
            name
            for name, member in workspace.items()
            if name not in reached and reached & set(member.siblings)
        }
        if not more:
            return reached
        reached |= more


def with_dependencies(name: str, workspace: Mapping[str, Member]) -> set[str]:
    """`name` and every sibling that it needs, directly or through another."""
    reached: set[str] = set()
    todo = [name]
    while todo:
        current = todo.pop()
        if current not in reached:
            reached.add(current)
            todo += workspace[current].siblings
    return reached
