"""A small workspace: base <- middle <- top, and tools that are never published."""

import subprocess

import pytest

PROJECT = """
[project]
name = "{name}"
version = "{version}"
description = "A test package"
requires-python = ">=3.11"
dependencies = [{dependencies}]

[project.optional-dependencies]
extra = []

[build-system]
requires = ["uv_build>=0.9,<0.14"]
build-backend = "uv_build"

[tool.uv.build-backend]
module-name = "{module}"
"""

ROOT = """
[project]
name = "root"
version = "0"
requires-python = ">=3.11"

[tool.uv]
package = false

[tool.uv.workspace]
members = ["packages/*", "tools"]

[tool.uv.sources]
t-base = { workspace = true }
t-middle = { workspace = true }
t-top = { workspace = true }

[tool.pytest.ini_options]
addopts = ["--import-mode=importlib"]
"""

CHANGELOG = "# Changes\n\n<!-- towncrier release notes start -->\n"
TOWNCRIER = """
[tool.towncrier]
directory = "changelog.d"
filename = "CHANGELOG.md"
start_string = "<!-- towncrier release notes start -->\\n"
title_format = "## {version} ({project_date})"
underlines = ["", "", ""]
[[tool.towncrier.type]]
directory = "added"
name = "Added"
showcontent = true
[[tool.towncrier.type]]
directory = "fixed"
name = "Fixed"
showcontent = true
"""


def add_member(root, folder, name, *, version="0.1.0", dependencies=()):
    """Write a package whose one function returns its name, and a test of it."""
    module = name.replace("-", "_")
    place = root / folder
    (place / "src" / module).mkdir(parents=True)
    (place / "src" / module / "__init__.py").write_text(f"def name():\n    return {name!r}\n")
    (place / "changelog.d").mkdir()
    (place / "README.md").write_text(f"# {name}\n")
    (place / "CHANGELOG.md").write_text(CHANGELOG)
    lines = ", ".join(f'"{line}"' for line in dependencies)
    text = PROJECT.format(name=name, version=version, dependencies=lines, module=module)
    (place / "pyproject.toml").write_text(text)
    (place / "tests").mkdir()
    (place / "tests" / f"test_{module}.py").write_text(
        f"import {module}\n\ndef test():\n    assert {module}.name() == {name!r}\n"
    )
    return place


@pytest.fixture
def workspace(tmp_path):
    """The root of the small workspace."""
    (tmp_path / "pyproject.toml").write_text(ROOT)
    (tmp_path / "towncrier.toml").write_text(TOWNCRIER)
    add_member(tmp_path, "packages/base", "t-base")
    add_member(tmp_path, "packages/middle", "t-middle", dependencies=["t-base>=0.1,<0.2"])
    add_member(tmp_path, "packages/top", "t-top", dependencies=["t-middle>=0.1,<0.2"])
    add_member(tmp_path, "tools", "t-tools")
    return tmp_path


@pytest.fixture
def git(workspace):
    """Run git in the workspace, which becomes a repository with one commit."""

    def run(*arguments):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        done = subprocess.run(
            ["git", *identity, *arguments], cwd=workspace, check=True, capture_output=True, text=True
        )
        return done.stdout

    run("init", "-q", "-b", "main")
    run("add", ".")
    run("commit", "-q", "-m", "first")
    return run
