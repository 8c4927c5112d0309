"""Counts the examples of the property tests: properties.py [--output FILE] [--profile nightly] PLACE ...

Places are numpy, compiled, torch, interpreter and cuda (tests/properties/conftest.py). Runs
tests/properties/test_operators.py and writes how many examples each operator was given and what failed; FILE
keeps what it has of other places.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from stable_ops.bench.cpu import _device as device_name

TESTS = Path(__file__).parents[1] / "tests" / "properties" / "test_operators.py"


def run(place: str, profile: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "examples.jsonl"
        environment = os.environ | {"HYPOTHESIS_PROFILE": profile, "STABLE_OPS_EXAMPLES": str(counts)}
        command = [sys.executable, "-m", "pytest", "-q", "-k", place, "-m", "", "-p", "no:cacheprovider"]
        done = subprocess.run([*command, str(TESTS)], env=environment, text=True, capture_output=True)
        failed = re.findall(r"^FAILED \S+::(\S+)", done.stdout, re.MULTILINE)
        if not counts.exists() or (done.returncode and not failed):
            sys.exit(f"{place}: no example was tried\n{done.stdout}{done.stderr}")
        (line,) = counts.read_text(encoding="utf-8").splitlines()
        return {"place": place, "examples": json.loads(line)["examples"], "failed_tests": failed}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("places", nargs="+")
    arguments.add_argument("--profile", default="nightly")
    arguments.add_argument("--output", type=Path)
    options = arguments.parse_args()
    words = ["python packages/stable-ops/benchmarks/properties.py", "--profile", options.profile]
    result: dict[str, Any] = {
        "device": device_name(),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "command": " ".join([*words, "--output FILE", "PLACE ..."]),
        "versions": {name: version(name) for name in ("numpy", "torch", "numba", "hypothesis")},
        "runs": [],
    }
    if options.output and options.output.is_file():
        known = json.loads(options.output.read_text(encoding="utf-8"))["runs"]
        result["runs"] = [one for one in known if one["place"] not in options.places]
    for place in options.places:
        result["runs"].append(run(place, options.profile))
        total = sum(result["runs"][-1]["examples"].values())
        print(f"{place}: {total} examples, failed: {result['runs'][-1]['failed_tests']}", flush=True)
        if options.output:
            options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
