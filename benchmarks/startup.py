"""How long `import <package>` and `<command> --help` take, each in a fresh process: `uv run just startup`.

Prints one JSON object: the median of the repetitions in seconds, with the bare interpreter beside it, since
every process pays for that as well.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import entry_points

from mfi_tools.workspace import members, root_folder


def median_s(code: str, repeat: int) -> float:
    """Median wall time of a fresh interpreter that runs `code`, after one run that warms the disk's cache."""
    times = []
    for _ in range(repeat + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def help_of(command: str) -> str:
    """Code that does what the installed command does with --help."""
    (point,) = entry_points(group="console_scripts", name=command)
    arguments = [command, "--help"]
    return f"import sys; sys.argv = {arguments}; from {point.module} import {point.attr}; {point.attr}()"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeat", type=int, default=5)
    repeat = parser.parse_args().repeat
    published = [member for member in members(root_folder()).values() if member.published]
    bare = median_s("", repeat)
    answer = {
        "command": "benchmarks/startup.py",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "processor": platform.processor() or platform.machine(),
        "repeat": repeat,
        "interpreter_s": round(bare, 4),
        "import_s": {
            member.module: round(median_s(f"import {member.module}", repeat) - bare, 4)
            for member in published
        },
        "help_s": {
            command: round(median_s(help_of(command), repeat), 4)
            for member in published
            for command in member.commands
        },
    }
    print(json.dumps(answer, indent=2))


if __name__ == "__main__":
    main()
