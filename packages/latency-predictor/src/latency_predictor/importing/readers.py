"""One function that tells the formats apart, and one each that reads it.

A server's numbers become passes: the time between tokens is a decode step of as many sequences as were served
at once, in the middle of the answer; the time to the first token of a single stream is a prefill. What a
server
was asked by many streams at once has a queue in its time to the first token, and is left out.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mfi_command import BadInput

Row = dict[str, Any]


def read_measurements(path: str | Path, *, model: str = "", form: str = "") -> list[Row]:
    """Rows of any known file.

    Parameters
    ----------
    path
        Rows of `collect`, a CSV or JSON with model, phase, batch, prompt and latency_s, or the JSON of
        llama-bench, vllm bench, GuideLLM, genai-perf or aiperf.
    model
        What the model is called here (`opt-30b`, a config.json), where the file has another name for it.
    form
        A name of `FORMATS`; found out by default.

    Raises
    ------
    BadInput
        No file, an unknown form, a value that is no positive number, or nothing to use in it.
    """
    file = Path(path)
    if not file.is_file():
        raise BadInput(f"{file}: no such file; expected measurements as CSV or JSON")
    content = _content(file)
    name = form or next((name for name, (matches, _) in FORMATS.items() if matches(content)), "")
    if name not in FORMATS:
        raise BadInput(f"{file}: none of the known forms: {', '.join(FORMATS)}; name one with --form")
    try:
        rows = list(FORMATS[name][1](content))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise BadInput(f"{file}: cannot be read as {name}: {error!r}") from error
    if model:
        rows = [{**row, "model": model} for row in rows]
    if not rows:
        raise BadInput(f"{file}: {name}, and no row that says how long a pass took")
    return [_checked(file, number, row) for number, row in enumerate(rows, 1)]


def _content(file: Path) -> Any:
    text = file.read_text(encoding="utf-8", errors="replace").strip()
    if not text:
        raise BadInput(f"{file}: is empty; expected measurements as CSV or JSON")
    if file.suffix.lower() == ".csv":
        return list(csv.DictReader(text.splitlines()))
    try:
        return json.loads(text)
    except ValueError:
        try:
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError as error:
            raise BadInput(f"{file}: neither JSON nor JSON lines: {error}") from error


def _checked(file: Path, number: int, row: Row) -> Row:
    where = f"{file}, row {number}"
    for key in ("batch", "positions"):
        value = row[key]
        if not isinstance(value, int) or not 1 <= value <= 10**9:
            raise BadInput(f"{where}: {key} is {value!r}, expected a whole number above zero")
    if row["phase"] not in ("prefill", "decode"):
        raise BadInput(f"{where}: phase is {row['phase']!r}, expected prefill or decode")
    seconds = row["latency_s"]
    if not isinstance(seconds, float) or not 0 < seconds < 1e6:
        raise BadInput(f"{where}: latency_s is {seconds!r}, expected seconds above zero")
    if not row.get("model"):
        raise BadInput(f"{where}: no model; name it with --model")
    return row


# --- forms: how to know one, and how to read it ------------------------------------------------------------


def _is_rows(content: Any) -> bool:
    rows = content.get("rows") if isinstance(content, Mapping) else content
    return isinstance(rows, list) and bool(rows) and isinstance(rows[0], Mapping) and "latency_s" in rows[0]


def _rows(content: Any) -> Iterator[Row]:
    about = content if isinstance(content, Mapping) else {}
    rows = about.get("rows", content)
    for number, row in enumerate(rows, 1):
        if row.get("kind", "pass") != "pass":
            continue
        missing = [key for key in ("model", "batch", "latency_s") if row.get(key) in (None, "")]
        if missing or not (row.get("positions") or row.get("prompt")):
            raise ValueError(f"row {number} has no {', '.join(missing) or 'positions or prompt'}")
        phase = str(row.get("phase") or "prefill")
        positions = row.get("positions") or int(row["prompt"]) + (phase == "decode")
        found = {
            key: value for key, value in row.items() if key in ("requested", "generated", "stack", "device")
        }
        yield {
            **found,
            "model": str(row["model"]),
            "phase": phase,
            "batch": int(row["batch"]),
            "positions": int(positions),
            "dtype": str(row.get("dtype") or about.get("dtype") or "bf16"),
            "latency_s": float(row["latency_s"]),
        }


def _is_llama_bench(content: Any) -> bool:
    return isinstance(content, list) and bool(content) and "n_gen" in content[0] and "avg_ns" in content[0]


def _llama_bench(content: Any) -> Iterator[Row]:
    for row in content:
        depth, prompt, generated = int(row.get("n_depth", 0)), int(row["n_prompt"]), int(row["n_gen"])
        common = {"model": str(row.get("model_type", "")), "batch": 1, "dtype": "fp16"}
        seconds = float(row["avg_ns"]) / 1e9
        if prompt and generated:
            continue  # both in one number
        if prompt:
            yield {**common, "phase": "prefill", "positions": depth + prompt, "latency_s": seconds}
        elif generated:
            middle = depth + max(1, generated // 2)
            yield {**common, "phase": "decode", "positions": middle, "latency_s": seconds / generated}


def _served(
    model: str, streams: float, prompt: float, answer: float, ttft_s: float | None, itl_s: float | None
) -> Iterator[Row]:
    batch = max(1, round(streams))
    common = {"model": model, "batch": batch, "dtype": "bf16"}
    if itl_s:
        positions = max(1, round(prompt + answer / 2))
        yield {**common, "phase": "decode", "positions": positions, "latency_s": float(itl_s)}
    if ttft_s and batch == 1:
        yield {**common, "phase": "prefill", "positions": max(1, round(prompt)), "latency_s": float(ttft_s)}


def _is_vllm(content: Any) -> bool:
    return isinstance(content, Mapping) and "median_tpot_ms" in content


def _vllm(content: Any) -> Iterator[Row]:
    done = float(content["completed"])
    streams = content.get("max_concurrency") or min(done, float(content.get("num_prompts", done)))
    if content.get("max_concurrency") is None and float(content.get("request_rate", "inf")) != float("inf"):
        raise ValueError(
            "a run at a request rate does not say how many were served at once: use --max-concurrency"
        )
    prompt, answer = (float(content[key]) / done for key in ("total_input_tokens", "total_output_tokens"))
    times = [float(content[f"median_{key}_ms"]) / 1e3 for key in ("ttft", "tpot")]
    yield from _served(str(content.get("model_id", "")), float(streams), prompt, answer, *times)


def _is_guidellm(content: Any) -> bool:
    return isinstance(content, Mapping) and isinstance(content.get("benchmarks"), list)


def _guidellm(content: Any) -> Iterator[Row]:
    model = str((content.get("args") or {}).get("model") or "")
    for one in content["benchmarks"]:
        metrics = one["metrics"]

        def median(name: str, metrics: Any = metrics) -> float | None:
            found = metrics.get(name) or {}
            found = found.get("successful", found)
            value = found.get("median", found.get("mean"))
            return None if value is None else float(value)

        strategy = (one.get("config") or one.get("args") or {}).get("strategy") or {}
        streams = strategy.get("streams") or median("request_concurrency") or 1
        prompt, answer = median("prompt_token_count"), median("output_token_count")
        if prompt is None or answer is None:
            raise ValueError("no prompt_token_count and output_token_count in its metrics")
        times = [median(f"{key}_ms") for key in ("time_to_first_token", "inter_token_latency")]
        seconds = [None if value is None else value / 1e3 for value in times]
        yield from _served(model, float(streams), prompt, answer, *seconds)


def _is_aiperf(content: Any) -> bool:
    return isinstance(content, Mapping) and "inter_token_latency" in content


def _aiperf(content: Any) -> Iterator[Row]:
    def middle(name: str) -> float | None:
        found = content.get(name)
        if not found:
            return None
        value = float(found.get("p50", found.get("avg")))
        return value / {"ms": 1e3, "us": 1e6, "ns": 1e9, "s": 1.0}.get(found.get("unit", "ms"), 1.0)

    asked = content.get("input_config") or {}
    streams = (
        (asked.get("loadgen") or {}).get("concurrency")
        or ((asked.get("perf_analyzer") or {}).get("stimulus") or {}).get("concurrency")
        or content.get("concurrency")
    )
    if not streams:
        raise ValueError(
            "no concurrency in its input_config: only runs at a fixed concurrency say what was served at once"
        )
    named = (asked.get("endpoint") or {}).get("model_names") or asked.get("model_names") or [""]
    lengths = [float(content[f"{name}_sequence_length"]["avg"]) for name in ("input", "output")]
    times = [middle("time_to_first_token"), middle("inter_token_latency")]
    yield from _served(str(named[0]), float(streams), *lengths, *times)


FORMATS: dict[str, tuple[Callable[[Any], bool], Callable[[Any], Iterator[Row]]]] = {
    "rows": (_is_rows, _rows),
    "llama-bench": (_is_llama_bench, _llama_bench),
    "vllm-bench": (_is_vllm, _vllm),
    "guidellm": (_is_guidellm, _guidellm),
    "aiperf": (_is_aiperf, _aiperf),
}
