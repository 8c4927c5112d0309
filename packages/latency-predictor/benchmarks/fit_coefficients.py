"""Fit the operator coefficients and measure how far predictions are off; writes coefficients.toml.

    python packages/latency-predictor/benchmarks/fit_coefficients.py --data DATA --output \
        packages/latency-predictor/src/latency_predictor/coefficients.toml

DATA holds vidur_mlp_median.csv.gz and aiconfigurator_*_perf_vllm.csv.gz (microsoft/vidur 7d475133, MIT;
ai-dynamo/aiconfigurator 095f58a5, Apache-2.0), measurements made by others that are not part of this
repository. The eager stack is fitted on benchmarks/results/eager_h100.json, which is. Needs scipy.

Intervals are quantiles of log(measured / predicted) of rows that the fit did not see: whole models are left
out for a device with a fit, whole devices for one without. Coverage is that of one group by the quantiles
of the others; where it is under 90 % the interval is widened until it is not.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from latency_predictor.coefficients import DeviceFit
from latency_predictor.eager import Eager, eager_s
from latency_predictor.timing import (
    Decode,
    Gemm,
    Hardware,
    Prefill,
    Vector,
    decode_s,
    gemm_s,
    prefill_s,
    vector_s,
)
from roofline import analyze, device

NAMES = {"a100": "A100-SXM4-80GB", "h100": "H100-SXM5-80GB", "h200": "H200-SXM", "a40": "A40"}
VECTORS = {
    "norm": "input_layernorm_ms",
    "rotary": "attn_rope_ms",
    "activation": "mlp_act_ms",
    "add": "add_ms",
}
VECTORS["embedding"] = "emb_ms"
PRODUCTS = ("attn_pre_proj_ms", "attn_post_proj_ms", "mlp_up_proj_ms", "mlp_down_proj_ms")
RESULTS = Path(__file__).parent / "results" / "eager_h100.json"
MOST_ROWS = 1200  # of each source in one fit, so that neither outweighs the other
generator = np.random.default_rng(0)

Row = tuple[tuple[float, ...], float]  # arguments of a formula, measured seconds


def read(data: Path, name: str) -> list[dict[str, str]]:
    with gzip.open(data / name, "rt", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def hardware(gpu: str, dtype: str = "bf16") -> Hardware:
    found = device(NAMES[gpu])
    return Hardware(found.peaks_flop_per_s[dtype], found.bandwidth_bytes_per_s, found.units or 0)


def few(rows: Sequence[Row]) -> list[Row]:
    if len(rows) <= MOST_ROWS:
        return list(rows)
    return [rows[i] for i in generator.choice(len(rows), MOST_ROWS, replace=False)]


def fit(kind: type, formula: Callable, rows: Sequence[Row], start: Sequence[float], low, high, on: Hardware):
    """Coefficients of `formula` with the least robust squares of log(predicted / measured)."""
    scale = np.array([1e-6 if value < 1e-3 else 1.0 for value in start])

    def residuals(theta: np.ndarray) -> np.ndarray:
        made = kind(*(theta * scale))
        return np.array([math.log(formula(*arguments, made, on) / seconds) for arguments, seconds in rows])

    found = least_squares(
        residuals,
        np.asarray(start) / scale,
        bounds=(np.asarray(low) / scale, np.asarray(high) / scale),
        loss="soft_l1",
        f_scale=0.1,
    )
    return kind(*(float(value) for value in found.x * scale))


def fit_gemm(rows: Sequence[Row], on: Hardware) -> Gemm:
    return fit(
        Gemm,
        gemm_s,
        rows,
        (0.8, 0.95, 0.85, 4, 5e-6),
        (0.2, 0.5, 0.3, 1.2, 5e-7),
        (1.2, 1.2, 1.1, 20, 2e-5),
        on,
    )


def fit_vector(rows: Sequence[Row], on: Hardware) -> Vector:
    return fit(Vector, vector_s, rows, (0.6, 3e-6), (0.05, 1e-7), (1.5, 2e-5), on)


# --- the sources as rows
# ------------------------------------------------------------------------------------------


def gemm_rows(table: list[dict[str, str]], gpu: str, dtype: str = "bfloat16") -> list[Row]:
    """Products whose weights do not fit the L2: the hot loop they were timed in would else read none of
    them.
    """
    l2, each = device(NAMES[gpu]).l2_bytes or 0, 1 if dtype.startswith("fp8") else 2
    rows = []
    for row in table:
        if row["system"] == f"{gpu}_sxm" and row["gemm_dtype"] == dtype:
            m, n, k = (int(row[key]) for key in "mnk")
            if n * k * each > l2:
                rows.append(((m, n, k, (m * k + n * k) * each + 2 * m * n), float(row["latency"]) / 1e3))
    return rows


def vidur_layers(table: list[dict[str, str]]) -> list[dict]:
    """One entry a row: gpu, model, tokens, and (arguments, seconds) of each operator of a layer."""
    layers = []
    for row in table:
        if not all(row[column] and float(row[column]) > 0 for column in (*PRODUCTS, *VECTORS.values())):
            continue
        tokens, width, wide = (int(row[key]) for key in ("num_tokens", "n_embd", "n_expanded_embd"))
        parts, heads, kv = (int(row[key]) for key in ("num_tensor_parallel_workers", "n_head", "n_kv_head"))
        head_dim, kv_here = width // heads, max(1, kv // parts)
        query = head_dim * heads // parts
        sizes = {
            "attn_pre_proj_ms": (query + 2 * head_dim * kv_here, width),
            "attn_post_proj_ms": (width, query),
            "mlp_up_proj_ms": (2 * wide // parts, width),
            "mlp_down_proj_ms": (width, wide // parts),
        }
        products = [
            ((tokens, n, k, 2 * (tokens * k + n * k + tokens * n)), float(row[column]) / 1e3)
            for column, (n, k) in sizes.items()
        ]
        moved = {
            "norm": 4 * tokens * width,
            "rotary": 4 * tokens * (query + head_dim * kv_here),
            "activation": 6 * tokens * wide // parts,
            "add": 6 * tokens * width,
            "embedding": 4 * tokens * width,
        }
        vectors = {kind: ((moved[kind],), float(row[column]) / 1e3) for kind, column in VECTORS.items()}
        layers.append(
            {
                "gpu": row["gpu"],
                "model": row["model"],
                "tokens": tokens,
                "products": products,
                "vectors": vectors,
            }
        )
    return layers


def cold(layers: Iterable[dict], gpu: str) -> list[Row]:
    l2 = device(NAMES[gpu]).l2_bytes or 0
    return [row for layer in layers for row in layer["products"] if 2 * row[0][1] * row[0][2] > l2]


def attention_rows(table: list[dict[str, str]], gpu: str, phase: str) -> list[tuple[str, Row]]:
    """(group, row): attention without a window over a 16-bit cache; the group is the pair of head counts."""
    rows = []
    for row in table:
        if (
            row["system"] != f"{gpu}_sxm"
            or row["window_size"] not in ("", "0")
            or row["kv_cache_dtype"] != "bfloat16"
        ):
            continue
        batch, length, heads, kv, dim = (
            int(row[key]) for key in ("batch_size", "isl", "num_heads", "num_key_value_heads", "head_dim")
        )
        group, seconds = f"{heads}/{kv}", float(row["latency"]) / 1e3
        if phase == "prefill":
            flop = 4 * batch * heads * dim * (length * (length + 1) // 2)
            rows.append((group, ((flop, 4 * batch * length * dim * (heads + kv)), seconds)))
        else:
            keys = int(row["step"]) + 1
            rows.append((group, ((batch, keys, kv, 4 * batch * dim * (heads + keys * kv)), seconds)))
    return rows


# --- residuals
# ----------------------------------------------------------------------------------------------------


def logs(formula: Callable, rows: Iterable[Row], made, on: Hardware) -> list[float]:
    return [math.log(seconds / formula(*arguments, made, on)) for arguments, seconds in rows]


def layer_log(layer: dict, gemm: Gemm, vectors: dict[str, Vector], on: Hardware) -> float:
    """log(measured / predicted) of the whole layer without attention: errors of operators partly cancel."""
    measured = sum(seconds for _, seconds in layer["products"])
    predicted = sum(gemm_s(*arguments, gemm, on) for arguments, _ in layer["products"])
    for kind, count in (("norm", 2), ("rotary", 1), ("activation", 1), ("add", 2)):
        arguments, seconds = layer["vectors"][kind]
        measured += count * seconds
        predicted += count * vector_s(*arguments, vectors[kind], on)
    return math.log(measured / predicted)


def quantiles(groups: dict[str, list[float]]) -> tuple[float, float]:
    """5 % and 95 % quantiles, every group weighing the same."""
    values = np.concatenate([np.asarray(group) for group in groups.values()])
    weights = np.concatenate([np.full(len(group), 1 / len(group)) for group in groups.values()])
    order = np.argsort(values)
    share = np.cumsum(weights[order]) / weights.sum()
    low, high = np.searchsorted(share, (0.05, 0.95))
    return float(values[order][low]), float(values[order][min(high, len(values) - 1)])


def coverage(groups: dict[str, list[float]], widen: float) -> float:
    """Mean share of a group that falls into the others' quantiles, moved apart by `widen` on each side."""
    inside = []
    for name, values in groups.items():
        low, high = quantiles({key: group for key, group in groups.items() if key != name})
        held = np.asarray(values)
        inside.append(float(np.mean((low - widen <= held) & (held <= high + widen))))
    return float(np.mean(inside))


def interval(groups: dict[str, list[float]]) -> dict[str, float]:
    """Quantiles of the groups, widened until held-out groups are covered to 90 %, and the errors themselves.

    A few groups do not show how different the next one is; the widening answers for that.
    """
    low, high = quantiles(groups)
    widen = next(factor for factor in np.arange(0, 3, 0.005) if coverage(groups, factor) >= 0.9)
    errors = np.abs(np.expm1(-np.concatenate([np.asarray(group) for group in groups.values()])))
    return {
        "low_log": low - widen,
        "high_log": high + widen,
        "widened": widen,
        "coverage_as_fitted": coverage(groups, 0.0),
        "coverage": coverage(groups, widen),
        "median_ape": float(np.median(errors)),
        "p90_ape": float(np.quantile(errors, 0.9)),
        "rows": len(errors),
        "groups": len(groups),
    }


def regime(tokens: int) -> str:
    return "decode" if tokens <= 64 else "prefill"


# --- everything
# ---------------------------------------------------------------------------------------------------


def fit_device(layers: list[dict], table: list[dict[str, str]], gpu: str) -> tuple[Gemm, dict[str, Vector]]:
    rows = few(gemm_rows(table, gpu)) + few(cold(layers, gpu))
    vectors = {
        kind: fit_vector(few([layer["vectors"][kind] for layer in layers]), hardware(gpu)) for kind in VECTORS
    }
    return fit_gemm(rows, hardware(gpu)), vectors


def mean_of(made: Sequence):
    """Geometric mean of coefficients, which are all positive."""
    columns = zip(*(astuple(one) for one in made), strict=True)
    return type(made[0])(
        *(math.exp(sum(math.log(value) for value in column) / len(column)) for column in columns)
    )


def layer_intervals(layers: list[dict], table: list[dict[str, str]], fits: dict) -> dict[str, dict]:
    """Intervals of layers of models left out of the fit, and of devices left out."""
    known, unseen = (defaultdict(lambda: defaultdict(list)) for _ in range(2))
    for gpu in ("a100", "h100", "a40"):
        here = [layer for layer in layers if layer["gpu"] == gpu]
        for model in sorted({layer["model"] for layer in here}):
            gemm, vectors = fit_device([layer for layer in here if layer["model"] != model], table, gpu)
            for layer in here:
                if layer["model"] == model:
                    found = layer_log(layer, gemm, vectors, hardware(gpu))
                    known[regime(layer["tokens"])][f"{model} {gpu}"].append(found)
        others = [name for name in ("a100", "h100", "a40") if name != gpu]
        gemm = mean_of([fits[name][0] for name in others])
        vectors = {kind: mean_of([fits[name][1][kind] for name in others]) for kind in VECTORS}
        for layer in here:
            unseen[regime(layer["tokens"])][gpu].append(layer_log(layer, gemm, vectors, hardware(gpu)))
    return {
        "known": {phase: interval(groups) for phase, groups in known.items()},
        "unseen": {phase: interval(groups) for phase, groups in unseen.items()},
    }


def attention_fit(data: Path, phase: str) -> tuple[dict, dict, dict]:
    """Coefficients per GPU; intervals with head counts left out, and with GPUs left out."""
    name = "context" if phase == "prefill" else "generation"
    table = read(data, f"aiconfigurator_{name}_attention_perf_vllm.csv.gz")
    formula = prefill_s if phase == "prefill" else decode_s
    made, known, unseen = {}, defaultdict(list), defaultdict(list)
    rows = {gpu: attention_rows(table, gpu, phase) for gpu in ("a100", "h100", "h200")}

    def fitted(chosen: Sequence[Row], on: Hardware):
        if phase == "prefill":
            bounds = ((0.05, 0.05, 1, 5e-7), (1, 1.2, 10, 4e-5))
            return fit(Prefill, formula, chosen, (0.5, 0.5, 2, 6e-6), *bounds, on)
        bounds = ((0.1, 1, 5e-7, 0, 1e-9), (1.2, 10, 4e-5, 1, 2e-7))
        return fit(Decode, formula, chosen, (0.7, 2, 8e-6, 0.5, 1e-8), *bounds, on)

    for gpu, found in rows.items():
        on = hardware(gpu)
        made[gpu] = fitted(few([row for _, row in found]), on)
        groups = sorted({group for group, _ in found})
        for part in range(4):
            held = set(groups[part::4])
            kept = fitted(few([row for group, row in found if group not in held]), on)
            for group, row in found:
                if group in held:
                    known[f"{group} {gpu}"] += logs(formula, [row], kept, on)
    for gpu, found in rows.items():
        other = mean_of([made[name] for name in rows if name != gpu])
        unseen[gpu] = logs(formula, [row for _, row in found], other, hardware(gpu))
    return made, interval(known), interval(unseen)


def eager_fit(h100: DeviceFit) -> tuple[Eager, dict[str, dict]]:
    """The eager stack on our H100 rows, whole families left out for the interval."""
    rows = json.loads(RESULTS.read_text())["rows"]
    passes = [
        (
            analyze(
                row["model"],
                device="H100",
                batch=row["batch"],
                sequence=row["prompt"] + (row["phase"] == "decode"),
                phase=row["phase"],
                dtype="fp16",
            ),
            row,
        )
        for row in rows
    ]

    def fitted(chosen) -> Eager:
        def residuals(theta: np.ndarray) -> np.ndarray:
            made = Eager(theta[0], theta[1] * 1e-6)
            return np.array(
                [math.log(eager_s(found, made, h100) / row["latency_s"]) for found, row in chosen]
            )

        best = least_squares(residuals, (1.1, 15), bounds=((0.5, 1), (3, 60)), loss="soft_l1", f_scale=0.1)
        return Eager(float(best.x[0]), float(best.x[1]) * 1e-6)

    def family(row: dict) -> str:
        return row["model"].partition("-")[0]

    groups: dict[str, dict[str, list[float]]] = {"prefill": defaultdict(list), "decode": defaultdict(list)}
    for held in sorted({family(row) for row in rows}):
        made = fitted([(found, row) for found, row in passes if family(row) != held])
        for found, row in passes:
            if family(row) == held:
                groups[row["phase"]][row["model"]].append(
                    math.log(row["latency_s"] / eager_s(found, made, h100))
                )
    made, intervals = fitted(passes), {phase: interval(found) for phase, found in groups.items()}
    for phase, found in intervals.items():
        errors = [
            abs(eager_s(p, made, h100) / row["latency_s"] - 1) for p, row in passes if row["phase"] == phase
        ]
        found["fitted_median_ape"] = float(np.median(errors))
    return made, intervals


def toml_table(name: str, values: dict[str, object]) -> str:
    lines = [f"[{name}]"]
    for key, value in values.items():
        lines.append(f"{key} = {json.dumps(value) if isinstance(value, str) else f'{value:.5g}'}")
    return "\n".join(lines) + "\n"


def fields(made) -> dict[str, float]:
    return dict(zip(made.__dataclass_fields__, astuple(made), strict=True))


HEAD = """\
# Fitted by packages/latency-predictor/benchmarks/fit_coefficients.py; do not edit. Shares are of the
# data-sheet peaks in roofline's table, times in seconds, intervals in log(measured / predicted) at 5 % and
# 95 %. Coefficients are fitted from measurements of
#   microsoft/vidur 7d475133 (MIT): median times of the operators of a layer on A100, H100 and A40;
#   ai-dynamo/aiconfigurator 095f58a5 (Apache-2.0): vLLM's GEMM and attention kernels on A100, H100 and H200
# SXM; and, for the eager stack, from benchmarks/results/eager_h100.json of this repository.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    table = read(options.data, "aiconfigurator_gemm_perf_vllm.csv.gz")
    layers = vidur_layers(read(options.data, "vidur_mlp_median.csv.gz"))
    fits = {
        gpu: fit_device([x for x in layers if x["gpu"] == gpu], table, gpu) for gpu in ("a100", "h100", "a40")
    }
    fits["h200"] = fit_gemm(few(gemm_rows(table, "h200")), hardware("h200")), fits["h100"][1]
    quarter = {
        gpu: fit_gemm(few(gemm_rows(table, gpu, "fp8")), hardware(gpu, "fp8")) for gpu in ("h100", "h200")
    }
    prefill, prefill_known, prefill_unseen = attention_fit(options.data, "prefill")
    decode, decode_known, decode_unseen = attention_fit(options.data, "decode")
    layer = layer_intervals(layers, table, fits)
    eager, eager_intervals = eager_fit(
        DeviceFit({"bf16": fits["h100"][0]}, prefill["h100"], decode["h100"], fits["h100"][1])
    )

    out = [HEAD]
    for gpu, name in NAMES.items():
        out.append(toml_table(f'device."{name}".gemm.bf16', fields(fits[gpu][0])))
        if gpu in quarter:
            out.append(toml_table(f'device."{name}".gemm.fp8', fields(quarter[gpu])))
        # No attention rows exist for the A40; the chip of the same generation stands in for it.
        out.append(toml_table(f'device."{name}".prefill', fields(prefill.get(gpu, prefill["a100"]))))
        out.append(toml_table(f'device."{name}".decode', fields(decode.get(gpu, decode["a100"]))))
        out += [
            toml_table(f'device."{name}".vector.{kind}', fields(made)) for kind, made in fits[gpu][1].items()
        ]
    out.append(toml_table("eager", fields(eager)))
    for which, attention in (
        ("known", (prefill_known, decode_known)),
        ("unseen", (prefill_unseen, decode_unseen)),
    ):
        for phase, found in zip(("prefill", "decode"), attention, strict=True):
            out.append(toml_table(f"interval.{which}.layer.{phase}", layer[which][phase]))
            out.append(toml_table(f"interval.{which}.attention.{phase}", found))
    out += [toml_table(f"interval.eager.{phase}", found) for phase, found in eager_intervals.items()]
    options.output.write_text("\n".join(out), encoding="utf-8")


if __name__ == "__main__":
    main()
