"""Fit what ships, and measure how far it is off: writes fits/*.json and stacks.toml of the package.

    python packages/latency-predictor/benchmarks/fit_coefficients.py --data DATA

DATA is the folder of `third_party`, measurements made by others that are not part of this repository. The
H200
and the stacks are fitted on benchmarks/results/h200.json, which is.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from composed import as_arrays, attention_logs, by_phase, predicted
from third_party import NAMES, SOURCES, exchanges, hardware, layers, third_party

from latency_predictor.device_fit import DeviceFit, completed, merged
from latency_predictor.fitting.host import disturbed
from latency_predictor.fitting.operators import fit_attention, fit_device
from latency_predictor.fitting.own import read_collected
from latency_predictor.fitting.samples import Samples, collected
from latency_predictor.fitting.stack import busy, family, fit_stack, held_out, pass_rows, taken
from latency_predictor.fitting.stack import predicted as predicted_passes
from latency_predictor.fitting.sustained import sustained_share
from latency_predictor.intervals import conformal
from latency_predictor.stacks import PHASES, Stack, posterior
from mfi_command import atomic_file
from roofline import device

HERE = Path(__file__).parent
PACKAGE = HERE.parent / "src" / "latency_predictor"
H200 = HERE / "results" / "h200.json"
ERA_SPREAD = 0.2  # of log(scalar) among frameworks and their years
FIGURE_NOISE = 0.1  # of a row typed from a figure about its stack's scalar, models included

BARE = Stack("", "", "loop", "torch", False, {"prefill": 1.0, "decode": 1.0}, 0.0, 0.0, 0.0, ERA_SPREAD, "")
STACKS = {
    "cuda-graph": replace(BARE, title="plain torch kernels in a CUDA graph; projections apart"),
    "compiled": replace(
        BARE, title="the same with what is element by element compiled into fewer kernels", recipe="compiled"
    ),
    "eager": replace(
        BARE,
        title="transformers as its code is written: unfused kernels, launched one by one",
        recipe="eager",
        issue_call_s=1e-5,
    ),
    "vllm": replace(
        BARE,
        title="a serving engine's fused kernels, one product for q, k, v; scheduling is not counted",
        recipe="fused",
        attention="vllm",
        fused=True,
        source="sums of kernels; no whole pass was measured",
    ),
    "fastertransformer": replace(
        BARE, title="FasterTransformer of 2022", recipe="fused", attention="unfused", fused=True
    ),
    "torch-2022": replace(BARE, title="transformers on PyTorch of 2022", recipe="fused", attention="unfused"),
}
PUBLISHED = {"FasterTransformer": "fastertransformer", "PyTorch/HF eager": "torch-2022"}
MOST_PUBLISHED = 8  # rows that a stack is calibrated on
PUBLISHED_SOURCE = (
    "figures of the SmoothQuant paper and repository, mit-han-lab/smoothquant c61476d7 (MIT), A100-80GB"
)


def device_fits(data: Path, by_gpu: dict[str, list[dict]]) -> dict[str, DeviceFit]:
    """Every GPU with all its rows."""
    return {gpu: fit_gpu(data, gpu, by_gpu[gpu]) for gpu in NAMES}


def fit_gpu(data: Path, gpu: str, chosen: list[dict]) -> DeviceFit:
    """One GPU: others' measurements, and on an H200 ours, which were taken with weights out of the cache."""
    samples = third_party(data, gpu, chosen)
    sources = (SOURCES["vidur"], SOURCES["aic"]) if chosen else (SOURCES["aic"],)
    if gpu == "h200":
        own = collected(read_collected(H200))
        gemms = {**samples.gemms, **own.gemms}
        samples = Samples(gemms, {**samples.attentions, **own.attentions}, own.vectors)
        sources = (*sources, SOURCES["own"])
    more = {} if gpu == "a40" else {"exchanges": exchanges(data, gpu)}
    if gpu == "h200":
        more["sustained"] = sustained_share(read_collected(H200))
    return fit_device(NAMES[gpu], samples, hardware(gpu), sources=sources, extra=more)


def others_of(fits: dict[str, DeviceFit], gpu: str) -> list[DeviceFit]:
    return [fit for name, fit in fits.items() if name != gpu]


def composed_intervals(
    data: Path, by_gpu: dict[str, list[dict]], fits: dict[str, DeviceFit]
) -> tuple[dict[str, dict], dict[str, dict]]:
    """Of layers of models left out, and of devices left out."""
    known, unseen = ({phase: defaultdict(list) for phase in PHASES} for _ in range(2))
    for gpu in ("a100", "h100", "a40"):
        whole = as_arrays(by_gpu[gpu])
        for model in sorted(set(whole.model)):
            kept = [one for one in by_gpu[gpu] if one["model"] != model]
            held = as_arrays([one for one in by_gpu[gpu] if one["model"] == model])
            samples = third_party(data, gpu, kept, layers_only=True)
            made = fit_device(NAMES[gpu], samples, hardware(gpu))
            logs = np.log(held.measured / predicted(held, made, gpu))
            _join(known, by_phase(held, logs, np.full(len(logs), f"{model} {gpu}")))
        stranger = merged(others_of(fits, gpu), gpu)
        logs = np.log(whole.measured / predicted(whole, stranger, gpu))
        _join(unseen, by_phase(whole, logs, np.full(len(logs), gpu)))
    return ({p: conformal(g) for p, g in known.items()}, {p: conformal(g) for p, g in unseen.items()})


def _join(into: dict[str, dict[str, list[float]]], more: dict[str, dict[str, list[float]]]) -> None:
    for phase, groups in more.items():
        for name, values in groups.items():
            into[phase][name] += values


def attention_intervals(data: Path) -> dict[str, dict]:
    """Of vLLM's attention with pairs of head counts left out."""
    found = {}
    for phase in PHASES:
        groups = defaultdict(list)
        for gpu in ("a100", "h100", "h200"):
            rows = third_party(data, gpu, []).attentions[phase, "vllm"]
            _, pair = np.unique(np.stack((rows.heads, rows.kv_heads)), axis=1, return_inverse=True)
            for part in range(4):
                held = pair.ravel() % 4 == part
                made, residual = fit_attention(rows.take(~held), phase, hardware(gpu)("bf16"))
                plain = {"vllm": made}
                fit = DeviceFit(
                    gpu,
                    {},
                    plain,
                    plain,
                    {},
                    {},
                    {f"{phase}.vllm": residual},  # type: ignore[arg-type]
                )
                logs = attention_logs(rows.take(held), fit, gpu, phase)
                for one, value in zip(pair.ravel()[held], logs, strict=True):
                    groups[f"{one} {gpu}"].append(float(value))
        found[phase] = conformal(groups)
    return found


def measured_stacks(fits: dict[str, DeviceFit]) -> tuple[dict[str, Stack], dict[str, dict]]:
    """The stacks that ran on the H200, and their intervals with families of models left out."""
    content, h200 = read_collected(H200), device(NAMES["h200"])
    full = completed(fits["h200"], others_of(fits, "h200"))
    made, intervals = {}, {}
    for name in ("cuda-graph", "compiled", "eager"):
        rows = pass_rows(content, name)
        if not rows:
            continue
        start = replace(STACKS[name], name=name)
        work = busy(rows, start, full, h200)
        if start.issue_call_s > 0:
            quiet = ~disturbed(rows, work)
            rows = [row for row, keep in zip(rows, quiet, strict=True) if keep]
            work = taken(work, quiet)
        made[name] = fit_stack(work, start, f"{len(rows)} passes on {content['device']}, {content['date']}")
        errors = held_out(rows, work, start, lambda row: family(row.model))
        intervals[name] = {phase: conformal(errors[phase]) for phase in PHASES}
    return made, intervals


def published_rows(data: Path) -> dict[str, list[dict]]:
    """OPT-6.7B and 13B on an A100, by stack."""
    found = defaultdict(list)
    with (data / "opt_small_a100_published.csv").open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            found[PUBLISHED[row["stack"]]].append({
                "model": row["model"].lower(), "phase": row["stage"], "batch": int(float(row["batch"])),
                "positions": int(row["seq_len"]), "dtype": row["precision"],
                "latency_s": float(row["latency_ms"]) / 1e3,
            })  # fmt: skip
    return found


def published_stacks(data: Path, fits: dict[str, DeviceFit]) -> dict[str, Stack]:
    """One scalar each, from at most eight rows, shrunk towards the sum of the kernels."""
    made = {}
    a100 = device(NAMES["a100"])
    for name, rows in published_rows(data).items():
        start = replace(STACKS[name], name=name)
        passes = pass_rows({"rows": [{**row, "stack": name} for row in rows[:MOST_PUBLISHED]]}, name)
        work = busy(passes, start, completed(fits["a100"], others_of(fits, "a100")), a100)
        logs = [float(value) for value in np.log(work.measured / predicted_passes(work, start))]
        mean, _ = posterior(logs, spread=ERA_SPREAD, noise=FIGURE_NOISE)
        made[name] = start.scaled(
            math.exp(mean), f"one scalar from {len(logs)} rows of OPT: {PUBLISHED_SOURCE}"
        )
    return made


# --- writing -----------------------------------------------------------------------------------------------

HEAD = """\
# Written by packages/latency-predictor/benchmarks/fit_coefficients.py; do not edit. Times in seconds;
# intervals are
# quantiles of log(measured / predicted) at 5 % and 95 % on what was left out of the fit, moved apart until
# what is
# left out is held to 90 %. Sources: fits/*.json name theirs; layers of microsoft/vidur 7d475133 (MIT),
# kernels of
# ai-dynamo/aiconfigurator 095f58a5 (Apache-2.0); whole passes of benchmarks/results/h200.json of this
# repository.
"""


def toml_value(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml_value(one)}" for key, one in value.items()) + " }"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return "nan" if math.isnan(value) else f"{value:.5g}"
    return json.dumps(value)


def toml_table(name: str, values: dict[str, object]) -> str:
    return "\n".join([f"[{name}]", *(f"{key} = {toml_value(value)}" for key, value in values.items())]) + "\n"


def write(fits: dict[str, DeviceFit], stacks: dict[str, Stack], tables: dict[str, dict]) -> None:
    for gpu, fit in fits.items():
        with atomic_file(PACKAGE / "fits" / f"{gpu}.json") as beside:
            beside.write_text(json.dumps(fit.to_dict()) + "\n", encoding="utf-8")
    out = [HEAD]
    out += [toml_table(f"stack.{name}", stack.to_dict()) for name, stack in stacks.items()]
    for kind, groups in tables.items():
        for name, phases in groups.items():
            out += [toml_table(f"{kind}.{name}.{phase}", values) for phase, values in phases.items()]
    with atomic_file(PACKAGE / "stacks.toml") as beside:
        beside.write_text("\n".join(out), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    all_layers = layers(data)
    by_gpu = {gpu: [one for one in all_layers if one["gpu"] == gpu] for gpu in NAMES}
    fits = device_fits(data, by_gpu)
    print("devices fitted", flush=True)
    measured, intervals = measured_stacks(fits)
    layer_known, layer_unseen = composed_intervals(data, by_gpu, fits)
    print("layers left out", flush=True)
    attention = attention_intervals(data)
    intervals["vllm"] = {phase: joint(layer_known[phase], attention[phase]) for phase in PHASES}
    for name in ("fastertransformer", "torch-2022"):
        intervals[name] = {phase: wider(intervals["vllm"][phase], FIGURE_NOISE) for phase in PHASES}
    stacks = {**measured, "vllm": replace(STACKS["vllm"], name="vllm"), **published_stacks(data, fits)}
    tables = {
        "interval.stack": intervals,
        "interval.unseen": {"device": layer_unseen},
        "interval.part": {"layer": layer_known, "attention": attention},
    }
    write(fits, stacks, tables)


def joint(layer: dict[str, float], attention: dict[str, float]) -> dict[str, float]:
    """Ends for a pass of layers and attention, of which attention takes a quarter where it takes much."""
    share = 0.25
    return {
        "low_log": -math.hypot((1 - share) * layer["low_log"], share * attention["low_log"]),
        "high_log": math.hypot((1 - share) * layer["high_log"], share * attention["high_log"]),
        "coverage": layer["coverage"],
        "median_ape": layer["median_ape"],
        "p90_ape": layer["p90_ape"],
        "rows": layer["rows"],
        "groups": layer["groups"],
    }


def wider(ends: dict[str, float], noise: float) -> dict[str, float]:
    """The interval of a stack whose scalar a few figures gave."""
    more = 1.645 * noise
    return {
        "low_log": -math.hypot(ends["low_log"], more),
        "high_log": math.hypot(ends["high_log"], more),
        "rows": 0,
        "groups": 0,
    }


if __name__ == "__main__":
    main()
