"""How long a scan takes from the checkpoint to the page, stage by stage.

    uv run python packages/svd-compress/benchmarks/scan_time.py model.gguf page.html [--record scan_smollm2]

The defaults of `svd-compress scan` on the bundled texts, but for `--executor`. Stages are told apart by what
the scan says while it works: a stage lasts until another one is heard of.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
from recording import record

from svd_compress.latency import device_name
from svd_compress.pages import scan_report, write_page
from svd_compress.scan import scan_model
from svd_compress.words import stages


class Clock:
    """Wall and CPU seconds of each stage, in the order in which they were first heard of."""

    def __init__(self, say):
        self.say, self.stage, self.spent = say, "read the model", {}
        self.last = self.start = self.now()

    def now(self):
        # Of this process and of the ones that it waited for.
        return time.monotonic(), sum(os.times()[:4])

    def __call__(self, stage, done, total):
        self.say(stage, done, total)
        kind = "layers alone" if stage.startswith("layer ") else stage.split(" ")[0]
        if kind != self.stage:
            self.turn(kind)

    def turn(self, kind):
        now = self.now()
        wall, cpu = self.spent.get(self.stage, (0.0, 0.0))
        self.spent[self.stage] = (wall + now[0] - self.last[0], cpu + now[1] - self.last[1])
        self.stage, self.last = kind, now


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("page", type=Path)
    parser.add_argument("--executor", default="serial")
    parser.add_argument("--record")
    arguments = parser.parse_args()
    with stages() as say:
        clock = Clock(say)
        scan = scan_model(arguments.model, executor=arguments.executor, on_progress=clock)
        clock.turn("page")
        report = scan_report(scan)
        write_page(arguments.page, f"svd-compress scan {Path(arguments.model).name}", report, report.fields)
        clock.turn("end")
    wall, cpu = (b - a for a, b in zip(clock.start, clock.last, strict=True))
    for stage, (seconds, used) in clock.spent.items():
        print(f"{stage:16} {seconds:7.1f} s  {used:7.1f} CPU s")
    print(f"{'all':16} {wall:7.1f} s  {cpu:7.1f} CPU s")
    if arguments.record:
        record(
            arguments.record, device_name("cpu"), model=Path(arguments.model).name,
            threads=torch.get_num_threads(), wall_s=wall, cpu_s=cpu, layers=len(scan.lines),
            points=len(scan.points),
            stages={name: {"wall_s": a, "cpu_s": b} for name, (a, b) in clock.spent.items()},
        )  # fmt: skip


if __name__ == "__main__":
    main()
