#!/usr/bin/env bash
# Run the GPU tests of every package with the Python that has torch, straight from the sources: a GPU machine
# brings its own torch, and a synced environment would replace it. Fails where no GPU test ran, since a run that
# skips everything proves nothing. Arguments go to pytest; PYTHON names the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."

shopt -s nullglob
sources=(packages/*/src)
# tests/properties holds files whose tests run on a CPU and, marked, on a GPU.
tests=(packages/*/tests/gpu packages/*/tests/properties)
if [ ${#tests[@]} -eq 0 ]; then
    echo "no GPU test exists: packages/*/tests/{gpu,properties} are empty" >&2
    exit 1
fi

report=$(mktemp)
trap 'rm -f "$report"' EXIT
PYTHONPATH=$(IFS=:; echo "${sources[*]}")${PYTHONPATH:+:$PYTHONPATH}
export PYTHONPATH HYPOTHESIS_PROFILE=gpu

# norecursedirs keeps these folders out of ordinary runs; here they are named, so they are collected.
status=0
"${PYTHON:-python3}" -m pytest -m gpu -o norecursedirs= --junitxml "$report" "$@" "${tests[@]}" || status=$?

"${PYTHON:-python3}" - "$report" <<'PYTHON'
import sys
import xml.etree.ElementTree as tree

try:
    suites = list(tree.parse(sys.argv[1]).getroot().iter("testsuite"))
except tree.ParseError:
    sys.exit("the test run wrote no report")
ran = sum(int(suite.get("tests", 0)) - int(suite.get("skipped", 0)) for suite in suites)
print(f"{ran} GPU tests ran")
sys.exit(0 if ran else "no GPU test ran")
PYTHON
exit "$status"
