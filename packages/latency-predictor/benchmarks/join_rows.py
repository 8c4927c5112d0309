"""Add to a file of `collect` what another run on the same kind of device measured and it lacks.

    python packages/latency-predictor/benchmarks/join_rows.py FILE OTHER

Device time comes in pieces: `collect` goes on with a file on the machine that has it, and what two machines
measured is joined here. A row of FILE stays; of OTHER come the rows of whole passes that FILE has not, marked
with the date of that run. Passes that wait for the host come only where the host's speed was noted.
"""

from __future__ import annotations

import sys
from pathlib import Path

from latency_predictor.collect.run import key_of, save
from latency_predictor.fitting.own import read_collected

HOSTED = ("eager", "loop")
SAME = ("device", "dtype", "versions", "attention")


def wanted(row: dict) -> bool:
    """Whether a row can stand beside those of another run."""
    return row["kind"] == "pass" and (row["stack"] not in HOSTED or "issue_s" in row)


def main(file: Path, other: Path) -> None:
    held, more = read_collected(file), read_collected(other)
    for key in SAME:
        assert held[key] == more[key], (key, held[key], more[key])
    known = {key_of(row) for row in held["rows"]}
    added = [row for row in more["rows"] if wanted(row) and key_of(row) not in known]
    held["rows"] += [{**row, "run": f"another, {more['date']}"} for row in added]
    save(file, held)
    print(f"{len(added)} rows added, {len(held['rows'])} in all")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
