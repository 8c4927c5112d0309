"""The accuracy table: errors on what no fit saw, with other people's formulas on the same rows.

    python packages/latency-predictor/benchmarks/accuracy.py [--data DATA] [--aiconfigurator PYTHON]
        [--genz PYTHON]

From the committed rows alone: products, whole passes of model families left out, a GPU left out, OPT-30B,
advised batches, and peers. With DATA, the folder of `third_party`, also what others measured on an A100, an
H100, an H200 and an A40. PYTHON is the interpreter of an environment with aiconfigurator 0.12 or
genz-llm 0.0.16.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from peers import PEERS, compare, linear

from latency_predictor import accuracy as a
from latency_predictor.calibration import calibrate
from latency_predictor.device_fit import DeviceFit, completed, merged, shipped
from latency_predictor.fitting.own import read_collected
from latency_predictor.fitting.stack import PassRow, pass_rows
from latency_predictor.intervals import conformal
from latency_predictor.prediction import predict
from latency_predictor.stacks import PHASES, find_stack
from roofline import Device, device

HERE = Path(__file__).parent
RESULTS = HERE / "results"
SMALL_OPT = ("opt-1.3b", "opt-2.7b", "opt-6.7b", "opt-13b")
# Prefill of OPT-30B on one A100-80GB by FasterTransformer, fp16, batch 1: prompt, milliseconds. Read off
# figure 9 of Xiao et al. 2023, SmoothQuant; nothing was fitted on it.
OPT_30B_A100 = ((128, 59.0), (256, 98.0), (512, 186.0), (1024, 380.0))
STACKS = ("cuda-graph", "compiled", "eager")  # that were measured on the H200
BARS = {"gemm": (0.05, 0.15), "model": (0.05, 0.12), "sheet": (0.12, 0.25), "collect": (0.06, 0.15)}


def line(name: str, errors: np.ndarray, bar: tuple[float, float] | None = None) -> None:
    median, p90 = float(np.median(errors)), float(np.quantile(errors, 0.9))
    verdict = ""
    if bar is not None:
        verdict = "met" if median <= bar[0] and p90 <= bar[1] else "NOT MET"
        verdict = f"  bar {bar[0]:.0%} / {bar[1]:.0%}: {verdict}"
    print(f"{name:66} {len(errors):6d}  {median:6.1%} {p90:6.1%} {errors.max():7.1%}{verdict}")


def heading(text: str) -> None:
    print(f"\n{text}\n{'':66} {'rows':>6}  {'median':>6} {'p90':>6} {'worst':>7}")


def phases(name: str, judged: a.Judged, bar: tuple[float, float] | None = None) -> None:
    line(name, judged.errors, bar)
    for phase in ("prefill", "decode"):
        part = judged.where(lambda row, phase=phase: row.phase == phase)
        if len(part.rows):
            line(f"  {phase}", part.errors, bar)


def covered(content: dict, on: Device, fit: DeviceFit) -> None:
    """Coverage of the 90 % intervals: each model judged by quantiles and widening of the others, its passes
    predicted by a stack fitted on other families.
    """
    held, rows = 0.0, 0
    for name in STACKS:
        judged = a.unseen_models(content, name, device=on, fit=fit)
        for phase in PHASES:
            groups = defaultdict(list)
            for row, log in zip(judged.rows, np.log(judged.measured / judged.predicted), strict=True):
                if row.phase == phase:
                    groups[row.model].append(float(log))
            found = conformal(groups)
            held += found["coverage_nested"] * found["rows"]
            rows += found["rows"]
            print(
                f"  interval of {name}, {phase}: {found['coverage_nested']:.1%} of {found['rows']} rows of"
                f" {found['groups']} models ({found['low_log']:+.3f} to {found['high_log']:+.3f})"
            )
    print(f"  all together: {held / rows:.1%} of {rows} (bar 88 to 92 %)")


def own_rows() -> None:
    content, h200 = read_collected(RESULTS / "h200.json"), device("H200")
    fit = a.own_operators(content, h200)
    heading("Products at weight shapes that the fit did not see")
    line("H200, measured for this project", a.unseen_shapes(content, h200), BARS["gemm"])

    heading("Whole passes, H200: every family of models judged by a fit on the others")
    for name in STACKS:
        judged = a.unseen_models(content, name, device=h200, fit=fit)
        phases(name, judged, BARS["model"])
        print(f"  R^2 {judged.r2:.4f}")
    covered(content, h200, fit)
    hosted = a.unseen_models(content, "eager", device=h200, fit=fit)
    first = {row["model"] for row in content["rows"] if row.get("stack") == "eager" and "run" not in row}
    line(
        "eager, models of the run that its recipe was set on", hosted.where(lambda r: r.model in first).errors
    )
    later = hosted.where(lambda r: r.model not in first)
    if later.rows:
        line("eager, models measured afterwards, on another machine", later.errors)
    blind = a.unseen_models(content, "eager", device=h200, fit=fit, one_host=True)
    line("eager, as if nothing had been noted of the host's speed", blind.errors)

    heading("A GPU after ten minutes of collect: its operators and sustained rate, no pass of any model")
    graph = pass_rows(content, "cuda-graph")
    phases(
        "H200, cuda-graph", a.with_stack(graph, a.bare("cuda-graph"), device=h200, fit=fit), BARS["collect"]
    )

    heading("A GPU from its data sheet alone: H100, its own measurements left out")
    passes = json.loads((RESULTS / "eager_h100.json").read_text())
    rows = [row for row in pass_rows(passes, "eager") if row.phase == "prefill"]
    h100, eager = device("H100"), find_stack("eager")
    stranger = merged([one for name, one in shipped().items() if name != h100.name], h100.name)
    judged = a.with_stack(rows, eager, device=h100, fit=stranger)
    bound = a.device_bound(rows, eager, device=h100, fit=stranger)
    line("eager prefill, all, those beside a host at half its speed among them", judged.errors)
    line("eager prefill, host as it usually is", judged.quiet.errors, BARS["sheet"])
    line("eager prefill, where the device decides", judged.errors[bound], BARS["sheet"])

    heading("OPT-30B on an H200 (cuda-graph), the stack fitted on OPT up to 13B only")
    judged = a.by_split(
        content, "cuda-graph", device=h200, fit=fit,
        seen=lambda row: row.model in SMALL_OPT, judged=lambda row: row.model == "opt-30b",
    )  # fmt: skip
    for row, measured, found in sorted(
        zip(judged.rows, judged.measured, judged.predicted, strict=True),
        key=lambda one: (one[0].phase, one[1]),
    ):
        what = f"{row.phase} {row.batch} x {row.positions}"
        print(
            f"  {what:20} measured {measured * 1e3:7.2f} ms, predicted {found * 1e3:7.2f},"
            f" off {(found - measured) * 1e3:+.2f}"
        )
    steps = judged.where(lambda row: row.phase == "decode")
    most = 1e3 * np.abs(steps.predicted - steps.measured).max()
    print(f"  decode: at most {most:.2f} ms off (bar 10 ms, aim 3 ms)")

    heading("The same rows by others' formulas (cuda-graph, H200)")
    phases("ours, families left out", a.unseen_models(content, "cuda-graph", device=h200, fit=fit))
    phases("roofline, as LLM-Viewer and GenZ at their defaults", a.ideal_roofline(graph, h200))
    phases(
        "roofline at 0.7 / 0.9, as llm-analysis suggests",
        a.ideal_roofline(graph, h200, compute=0.7, memory=0.9),
    )
    for phase in ("prefill", "decode"):
        mine = [row for row in graph if row.phase == phase]
        r2, errors = linear(mine)
        line(f"alpha M + beta C + gamma B + delta, {phase}, families left out", errors)
        print(f"  R^2 of the line on its own rows {r2:.3f}")

    regrets = a.batch_regrets(content, device=h200, fit=fit)
    near = sum(one.share >= 0.95 for one in regrets)
    print(f"\nAdvised batches: {near} of {len(regrets)} limits within 5 % of the best measured throughput")
    for one in regrets:
        print(
            f"  {one.model:12} limit {one.max_decode_s * 1e3:6.2f} ms: advised {one.advised:3d},"
            f" best {one.best:3d}, {one.share:.3f} of its tokens/s"
        )


def published() -> None:
    heading("OPT-30B prefill on an A100, FasterTransformer's scalar from four rows of OPT-13B")
    stack = find_stack("fastertransformer")
    for prompt, measured in OPT_30B_A100:
        answer = predict(
            "opt-30b", device="A100-SXM4-80GB", prompt=prompt, output=1, stack=stack, dtype="fp16"
        )
        found = 1e3 * answer.prefill_s
        bar = max(10.0, 0.05 * measured)
        verdict = "met" if abs(found - measured) < bar else "NOT MET"
        print(
            f"  1 x {prompt:5d}: published {measured:5.0f} ms, predicted {found:6.1f},"
            f" off {found - measured:+6.1f} ({found / measured - 1:+.1%}), bar {bar:.0f} ms: {verdict}"
        )


def third_party_rows(data: Path) -> None:
    from composed import as_arrays, predicted
    from fit_coefficients import published_rows
    from third_party import NAMES, gemms, hardware, layers, third_party

    from latency_predictor.fitting.operators import fit_device, fit_gemm, gemm_seconds

    heading("Products at weight shapes left out of the fit, measured by aiconfigurator")
    for gpu in ("a100", "h100", "h200"):
        for cold in (True, False):
            rows, on = gemms(data, gpu, "bf16", cold=cold), hardware(gpu)("bf16")
            _, site = np.unique(np.stack((rows.n, rows.k)), axis=1, return_inverse=True)
            errors = []
            for part in range(5):
                held = site.ravel() % 5 == part
                made, residual = fit_gemm(rows.take(~held), on)
                judged = rows.take(held)
                errors.append(np.abs(gemm_seconds(judged, made, residual, on) / judged.seconds - 1))
            what = "weights beyond the L2" if cold else "all, hot loops over cached weights among them"
            line(f"{gpu.upper()}: {what}", np.concatenate(errors), BARS["gemm"] if cold else None)

    heading("Layers without attention by Vidur, the GPU left out of the fit")
    every = layers(data)
    fits = shipped()
    for gpu in ("a100", "h100", "a40"):
        mine = as_arrays([one for one in every if one["gpu"] == gpu])
        others = [fit for name, fit in fits.items() if name != NAMES[gpu]]
        found = predicted(mine, merged(others, gpu), gpu)
        for phase, chosen in (("prefill", ~mine.decode), ("decode", mine.decode)):
            line(f"{gpu.upper()} {phase}", np.abs(found / mine.measured - 1)[chosen], BARS["sheet"])

    heading("The vllm stack: layers of vLLM's kernels by Vidur, each model left out of the fit of its GPU")
    for gpu in ("a100", "h100", "a40"):
        rows = [one for one in every if one["gpu"] == gpu]
        judged = defaultdict(list)
        for model in sorted({one["model"] for one in rows}):
            samples = third_party(data, gpu, [one for one in rows if one["model"] != model], layers_only=True)
            mine = as_arrays([one for one in rows if one["model"] == model])
            found = predicted(mine, fit_device(NAMES[gpu], samples, hardware(gpu)), gpu)
            longest = samples.gemms["bf16"].m.max()  # tokens of a pass that the fit saw; serving takes 8,192
            for phase, chosen in (
                ("prefill", ~mine.decode & (mine.tokens <= longest)),
                ("prefill of more tokens than its fit saw", mine.tokens > longest),
                ("decode", mine.decode),
            ):
                judged[phase].append(np.abs(found / mine.measured - 1)[chosen])
        for phase, errors in judged.items():
            together = np.concatenate(errors)
            if len(together):
                bar = None if "more" in phase else BARS["model"]
                line(f"{gpu.upper()} {phase}, {sum(map(bool, map(len, errors)))} models", together, bar)

    heading("Stacks calibrated on at most eight published rows, judged on those rows")
    for name, rows in published_rows(data).items():
        base = "fastertransformer" if name == "fastertransformer" else "torch-2022"
        made = calibrate(rows[:8], device="A100-SXM4-80GB", stack=base)
        passes = [
            PassRow(
                row["model"], row["phase"], row["batch"], row["positions"], row["dtype"], row["latency_s"]
            )
            for row in rows
        ]
        a100 = device("A100-SXM4-80GB")
        fit = completed(fits[a100.name], [one for one in fits.values() if one.device != a100.name])
        line(name, a.with_stack(passes, made.stack, device=a100, fit=fit).errors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    for name in PEERS:
        parser.add_argument(f"--{name}", type=Path, metavar="PYTHON")
    options = parser.parse_args()
    own_rows()
    published()
    asked = {name: getattr(options, name) for name in PEERS if getattr(options, name) is not None}
    if asked:
        content, h200 = read_collected(RESULTS / "h200.json"), device("H200")
        fit = a.own_operators(content, h200)
        ours = a.unseen_models(content, "cuda-graph", device=h200, fit=fit)
        for name, python in asked.items():
            compare(PEERS[name], python, content, ours, line, heading)
    if options.data is not None:
        third_party_rows(options.data)


if __name__ == "__main__":
    main()
