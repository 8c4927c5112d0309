"""The page docs/tools/stable-ops/scoreboard.md, generated from the committed runs of `stable-ops bench`.

    python packages/stable-ops/benchmarks/scoreboard.py > docs/tools/stable-ops/scoreboard.md

A test compares the page with what this prints.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
TITLES = {
    "stable_ops": "stable-ops",
    "stable_ops/numpy": "stable-ops, numpy",
    "stable_ops/torch": "stable-ops, torch",
    "torch": "torch",
    "torch.compile": "torch.compile",
    "liger": "Liger",
    "quack": "QuACK",
    "flashinfer": "FlashInfer",
    "scipy": "scipy.special",
    "numpy": "numpy by hand",
}
# What this library set out to reach, before it was measured: share of copy, for logsumexp of reading.
NORMS = {n: 0.85 if n <= 512 else 0.97 if n <= 32_768 else 0.95 for n in (2**k for k in range(7, 19))}
SOFTMAX = {n: 0.97 if n <= 32_768 else 0.95 for n in (2**k for k in range(10, 19))}
GOALS: dict[str, dict[int, float]] = {
    "softmax": SOFTMAX,
    "logsumexp": dict.fromkeys(NORMS, 0.93),
    "layer_norm": NORMS,
    "rms_norm": NORMS,
    "gelu": dict.fromkeys(NORMS, 0.97),
    "swiglu": dict.fromkeys(NORMS, 0.97),
}
ORDER = ("softmax", "log_softmax", "logsumexp", "layer_norm", "rms_norm", "gelu", "silu", "swiglu", "top_p")
READS = {64: 6.0, 128: 4.0, 512: 3.0}

Row = dict[str, Any]
Run = dict[str, Any]


def load(name: str) -> Run | None:
    """A committed run, if it is there."""
    path = RESULTS / f"{name}.json"
    run: Run | None = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    return run


def joined(run: Run, other: Run | None) -> Run:
    """A run with the rows of the libraries that only another run on such a device has."""
    if other is None:
        return run
    lists = ("rows", "launches", "accuracy", "invariance", "trials", "absent")
    present = {row["backend"] for name in lists[:5] for row in run[name]}
    added = {row["backend"] for name in lists[:5] for row in other[name]} - present
    whole = dict(run)
    for name in lists:
        kept = [row for row in run[name] if name != "absent" or row["backend"] not in added]
        whole[name] = kept + [row for row in other[name] if row["backend"] in added]
    return whole


def share(row: Row) -> float:
    """Of read bandwidth where that is measured, else of copy."""
    return float(row["of_copy"] if row["of_read"] is None else row["of_read"])


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Markdown; every column but the first to the right."""
    rule = "| --- |" + " ---: |" * (len(header) - 1)
    return "\n".join([f"| {' | '.join(header)} |", rule, *(f"| {' | '.join(line)} |" for line in lines)])


def named(rows: Sequence[Row]) -> list[str]:
    """The libraries of some rows, in the order of the page."""
    found = {row["backend"] for row in rows}
    return [name for name in TITLES if name in found]


def unique(rows: Sequence[Row], key: Callable[[Row], Any]) -> list[Any]:
    """Each value once, in the order of the rows."""
    return list(dict.fromkeys(key(row) for row in rows))


def operators(rows: Sequence[Row]) -> list[str]:
    """The operators of some rows, in the order of the page."""
    return sorted({row["op"] for row in rows}, key=ORDER.index)


def where(rows: Sequence[Row], **fields: Any) -> list[Row]:
    """The rows whose fields have these values."""
    return [row for row in rows if all(row[name] == value for name, value in fields.items())]


def lowest(rows: Sequence[Row], first: int, last: int) -> str:
    """The worst share over lengths of first..last."""
    shares = [share(row) for row in rows if first <= row["shape"][1] <= last]
    return f"{min(shares):.2f}" if shares else "-"


def ulps(value: float | None) -> str:
    """Enough digits to see what is above one half."""
    if value is None or value == float("inf"):
        return "wrong NaN or infinity"
    return f"{value:.5f}" if value < 1 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def part(wrong: int, outputs: int) -> str:
    """A share as a percentage; a zero is a zero."""
    if wrong == 0:
        return "0"
    percent = 100 * wrong / outputs
    return f"{percent:.2f} %" if percent >= 0.01 else f"{percent:.0e} %".replace("e-0", "e-")


def worst(rows: Sequence[Row]) -> float | None:
    """The largest error; None where one was infinite, as JSON has it."""
    values = [row["max_ulp"] for row in rows]
    return None if None in values else max(values)


def errors(rows: Sequence[Row]) -> tuple[str, str, str]:
    """Largest error, share misrounded, share misrounded near ties."""
    if not rows:
        return "", "", ""
    wrong, outputs = sum(r["misrounded"] for r in rows), sum(r["outputs"] for r in rows)
    ties, lost = sum(r["near_ties"] for r in rows), sum(r["near_ties_misrounded"] for r in rows)
    return ulps(worst(rows)), part(wrong, outputs), part(lost, ties) if ties else ""


def bits(rows: Sequence[Row]) -> str:
    """Whether the bits of a row depend on the batch."""
    if not rows:
        return ""
    count = sum(len(row["differing"]) for row in rows)
    return f"no, {count} of {sum(len(row['batches']) for row in rows)}" if count else "yes"


def failures(trial: Row) -> str:
    """What a kernel answered wrongly, and what it refused to compute."""
    refused = trial["sorts"].get("raises", 0)
    wrong = str(trial["failures"] - refused)
    return f"{wrong}, {refused} refused" if refused else wrong


def glance(run: Run, op: str, dtype: str) -> str:
    """Speed, error and invariance of an operator in each library."""
    speed, judged = where(run["rows"], op=op, dtype=dtype), where(run["accuracy"], op=op, dtype=dtype)
    spans = ((128, 512), (1024, 1024), (4096, 32_768), (65_536, 262_144))
    any_length = len({row["shape"][1] for row in speed}) == 1
    lines = []
    for name in named([*speed, *judged]):
        rows = where(speed, backend=name)
        shares = [lowest(rows, *span) for span in (((1, 2**20),) if any_length else spans)]
        same = bits(where(run["invariance"], op=op, dtype=dtype, backend=name))
        trials = where(run["trials"], op=op, dtype=dtype, backend=name)
        found = failures(trials[0]) if trials else ""
        ulp, wrong, ties = errors(where(judged, backend=name))
        lines.append(
            [TITLES[name], " / ".join(shares), ulp, f"{wrong}; {ties}" if ties else wrong, same, found]
        )
    lengths = "share of copy" if any_length else "N to 512 / 1024 / 32,768 / 262,144"
    return table([op, lengths, "max ulp", "misrounded; near ties", "same bits", "trials failed"], lines)


def by_length(run: Run, op: str, dtype: str) -> str:
    """Share of bandwidth of one operator, a line a length."""
    rows = where(run["rows"], op=op, dtype=dtype)
    names = named(rows)
    lengths = unique(rows, lambda row: row["shape"][1])
    goals = GOALS.get(op, {}) if dtype == "bfloat16" else {}
    lines = []
    for length in lengths:
        here = {row["backend"]: row for row in rows if row["shape"][1] == length}
        cells = [cell(here.get(name), goals.get(length)) for name in names]
        aim = [f"{goals[length]:.2f}" if length in goals else ""] if goals else []
        lines.append([f"{length:,}" if len(lengths) > 1 else "any", *cells, *aim])
    return table(["N", *(TITLES[name] for name in names), *(["goal"] if goals else [])], lines)


def cell(row: Row | None, aim: float | None) -> str:
    """A share; ours in bold where it reaches the goal."""
    if row is None:
        return ""
    text = f"{share(row):.3f}"
    reached = row["backend"] == "stable_ops" and aim is not None and share(row) >= aim
    return f"**{text}**" if reached else text


def by_kind(run: Run, op: str, dtype: str) -> str:
    """Largest error and share misrounded for each class of inputs and library."""
    rows = where(run["accuracy"], op=op, dtype=dtype)
    names = named(rows)
    lines = []
    for kind, length in unique(rows, lambda row: (row["kind"], row["length"])):
        cells = []
        for name in names:
            found = where(rows, kind=kind, length=length, backend=name)
            cells.append("; ".join(errors(found)[:2]) if found else "")
        lines.append([f"{kind}, N {length:,}", *cells])
    return table(["inputs", *(TITLES[name] for name in names)], lines)


def sampling(run: Run) -> str:
    """Time of a top-p draw in reads of the logits."""
    rows = where(run["rows"], op="top_p")
    names = named(rows)
    lines = []
    for count in unique(rows, lambda row: row["shape"][0]):
        here = {row["backend"]: row for row in rows if row["shape"][0] == count}
        cells = [
            f"{1e3 * here[name]['median_s']:.3f} ms, {1 / share(here[name]):.1f}" if name in here else ""
            for name in names
        ]
        lines.append([f"{count} x {rows[0]['shape'][1]:,}", *cells, f"{READS[count]:.0f}"])
    return table(["logits", *(TITLES[name] for name in names), "goal"], lines)


def launched(run: Run) -> str:
    """Share of copy of the kernels alone, a line an operator and length."""
    lines = []
    for row in run["rows"]:
        fastest = max(share for name, share in row["of_copy"].items() if "threads=" in name)
        shares = row["of_copy"]["triton"], fastest, GOALS[row["op"]][row["length"]]
        lines.append([f"{row['op']}, {row['length']:,}", *(f"{share:.3f}" for share in shares)])
    return table(["operator, N", "in Triton", "in clusters", "goal, set for an H100"], lines)


def launches(run: Run) -> str:
    """Host microseconds of a call on a tiny input."""
    rows = run["launches"]
    names = named(rows)
    lines = []
    for op in operators(rows):
        here = {row["backend"]: row["host_us"] for row in where(rows, op=op)}
        lines.append([op, *(f"{here[name]:.0f}" if name in here else "" for name in names)])
    return table(["operator", *(TITLES[name] for name in names)], lines)


def processor(run: Run) -> str:
    """GB/s, share of copy, error and extra memory on a CPU; ours as a multiple of the library it replaces."""
    lines = []
    for op, shape in unique(run["rows"], lambda row: (row["op"], tuple(row["shape"]))):
        here = {r["backend"]: r for r in run["rows"] if (r["op"], tuple(r["shape"])) == (op, shape)}
        for name in named(list(here.values())):
            row = here[name]
            rival = here.get({"stable_ops/numpy": "scipy", "stable_ops/torch": "torch"}.get(name, ""))
            times = f"{rival['median_s'] / row['median_s']:.1f}" if rival else ""
            extra = "" if row["extra_bytes"] is None else f"{row['extra_bytes'] / 2**20:.1f}"
            judged = where(run["accuracy"], op=op, backend=name, length=shape[1])
            speed = [f"{row['gb_per_s']:.2f}", f"{row['of_copy']:.3f}", times]
            lines.append([f"{op}, {shape[1]:,}, {TITLES[name]}", *speed, *errors(judged)[:2], extra])
    header = ["operator, N, library", "GB/s", "of copy", "times rival", "max ulp", "misrounded", "extra MiB"]
    return table(header, lines)


def absences(run: Run) -> Iterator[str]:
    """Why a cell is empty, a line a reason."""
    groups: dict[tuple[str, str], list[str]] = {}
    for row in run["absent"]:
        size = f" at N {row['length']:,}" if row["length"] else ""
        groups.setdefault((row["backend"], row["reason"]), []).append(f"{row['op']}{size} ({row['dtype']})")
    for (backend, reason), cases in groups.items():
        if reason == "has no such operator":
            continue
        each = list(dict.fromkeys(cases))
        shown = ", ".join(each[:4]) + (f" and {len(each) - 4} more" if len(each) > 4 else "")
        yield f"- {TITLES[backend]}, {shown}: {reason}"


def copied(run: Run, dtype: str | None = None) -> str:
    """Median of the copy bandwidths of a run."""
    values = sorted(v for k, v in run["copy_gb_per_s"].items() if dtype is None or k.endswith(dtype))
    return f"{values[len(values) // 2]:,.0f} GB/s"


def origin(run: Run) -> str:
    """Device, date and versions in a sentence."""
    made = ", ".join(f"{name} {number}" for name, number in run["versions"].items())
    return f"{run['device']}, {run['date']}; {made}."


def speeds(run: Run, device: str = "") -> Iterator[str]:
    """Shares of bandwidth, sampling and host times; the device is named in the headings of a second one."""
    dtypes = [d for d in ("bfloat16", "float16", "float32") if where(run["rows"], dtype=d)]
    for dtype in dtypes:
        yield f"## Speed by length, {dtype}{device}"
        if dtype == "bfloat16":
            yield GOAL
        for op in operators(where(run["rows"], dtype=dtype)):
            if op != "top_p":
                against = "read bandwidth" if op == "logsumexp" else "copy"
                yield f"### {op} ({dtype}), share of {against}{device}"
                yield by_length(run, op, dtype)
    if where(run["rows"], op="top_p"):
        yield f"## Top-p sampling, p = 0.9, from float32 logits{device}"
        yield SAMPLING
        yield sampling(run)
    if run["launches"]:
        yield f"## Host time of a call, us{device}"
        yield "A call on 4 rows of 1,024 numbers returns after this long; the device is still at work then."
        yield launches(run)


def gpu_part(run: Run) -> Iterator[str]:
    """The sections of a GPU run."""
    yield f"{origin(run)} A copy of 512 MiB moves {copied(run, 'bfloat16')} (bytes read and written)."
    yield "## At a glance, bfloat16"
    yield GLANCE
    for op in operators(where(run["accuracy"], dtype="bfloat16")):
        yield glance(run, op, "bfloat16")
    if judged := where(run["accuracy"], dtype="float32"):
        yield "## At a glance, float32"
        for op in operators(judged):
            yield glance(run, op, "float32")
    yield from speeds(run)
    for dtype in [d for d in ("bfloat16", "float16", "float32") if where(run["accuracy"], dtype=d)]:
        yield f"## Errors by input, {dtype}"
        yield "Largest error in ulp; share misrounded."
        for op in operators(where(run["accuracy"], dtype=dtype)):
            yield f"### {op} ({dtype}), errors"
            yield by_kind(run, op, dtype)
    reasons = list(absences(run))
    if reasons:
        yield "## Empty cells"
        yield "A cell is empty where a library has no such operator, or for one of these reasons."
        yield "\n".join(reasons)


INTRODUCTION = """# Scoreboard

Accuracy, invariance and speed of the same operators in torch, torch.compile, Liger, QuACK, FlashInfer and
stable-ops. Every number is from the files in `packages/stable-ops/benchmarks/results`, made with the library
of `stable-ops bench` ([how](cli.md#bench); on GPUs in parts, `benchmarks/gpu.py`); a test compares this page
with them.

How it is measured: all libraries of a line run in one process, in turn, one call each a round, in an order
that shifts, with a device copy among them. Before each call 512 MiB are written, so nothing is left in L2;
inputs rotate over three sets of 512 MiB. Times are between two CUDA events, medians of 51 rounds, compilation
left out. Bytes are the operator's own: inputs once, outputs once. logsumexp and sampling, which only read,
are measured against the fastest of several kernels that only read. What answers wrongly is not timed."""
GLANCE = """Four shares of copy bandwidth (logsumexp: of read bandwidth): the lowest over rows of 128 to 512
numbers, of 1024, of 4096 to 32,768 and of 65,536 to 262,144. Errors are over all classes of inputs: normal,
scale 10, mean 1000, and for gelu and silu all 65,536 inputs; "near ties" is the share misrounded among
outputs whose exact value lies within 1/256 ulp of a tie, where half is what a coin gives. Same bits: a row
alone and in batches of up to 2,048; "no, 3 of 35" where 3 batch sizes changed bits. Trials failed: what the
`check` command reports at a limit of one ulp (masks, NaN, overflow, layouts), without the cases that the
library refuses by an exception. Errors of thousands of ulp are those of small results, relative to these
results: GELU's tail, in bfloat16 LayerNorm's near the mean (in float32 its ulp is at least that of 1)."""
GOAL = "The goals were set before anything was measured; stable-ops' share is bold where it reaches its goal."
SAMPLING = """Milliseconds, and how often the logits could have been read in that time. The logits are
normal with standard deviation 2, which makes a wide nucleus. stable-ops draws from the exact nucleus;
FlashInfer is its softmax followed by its sampler, torch a sort, a cumulative sum and a draw."""
NEWER = """The same arithmetic as an H100 beside faster memory: a kernel that waits for memory there may be
bound by its arithmetic here. This run was made while the kernels still changed: since then softmax of
bfloat16 up to 16,384 takes the device's powers of 2, and other lengths of the norms run in clusters of
thread blocks, which read a row once. [Verification](verification.md) has the errors."""
LAUNCHED = """The kernels as they are, alone: `benchmarks/tune.py`, tensors of 2^28 bfloat16 numbers, the
share of a copy in the same run. The faster one of each line is what runs; the bits of norms were the same."""
PROCESSOR = """The same on a CPU: numpy forms beside scipy.special and what one writes by hand with numpy,
torch forms beside torch. Medians of rounds in which each runs once, beside a copy. "times rival" is how
many times as fast as scipy.special (numpy form) or torch (torch form) ours is in the same rounds. Extra
memory is the most in use during the call beyond operands and result. Other programs used the same cores
during this run: read the multiples, not the GB/s."""


def unmeasured() -> Iterator[str]:
    """What the page should have and no committed run holds."""
    yield "- Clusters on an H100; top-p, QuACK, FlashInfer, torch.compile and errors on an H200."
    if not where((load("h100_quack") or {"rows": []})["rows"], backend="quack"):
        yield "- QuACK's speed beside the others': only its errors are here."


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    if run := load("h100"):
        other = load("h100_quack")
        if other:
            parts.append(f"QuACK's numbers are those of a run of their own: {origin(other)}")
        parts += gpu_part(joined(run, other))
    if run := load("h200"):
        parts += ["## On an H200", f"{origin(run)} A copy of 512 MiB moves {copied(run)}. {NEWER}"]
        parts += speeds(run, ", H200")
    if run := load("tune_h200"):
        parts += ["## Kernels alone, H200", f"{origin(run)} {LAUNCHED}", launched(run)]
    parts += ["## Not measured", "\n".join(unmeasured())]
    if run := load("bench_cpu"):
        parts += ["## On a CPU", PROCESSOR, f"{origin(run)} {run['threads']} threads.", processor(run)]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
