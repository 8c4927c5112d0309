"""Each form as its tool writes it, and files that are none."""

import json
from pathlib import Path

import pytest

from latency_predictor.importing import read_measurements
from mfi_command import BadInput

LLAMA_BENCH = [
    {"model_type": "llama 8B F16", "n_prompt": 512, "n_gen": 0, "n_depth": 0, "avg_ns": 25_000_000},
    {"model_type": "llama 8B F16", "n_prompt": 0, "n_gen": 128, "n_depth": 512, "avg_ns": 1_280_000_000},
    {"model_type": "llama 8B F16", "n_prompt": 512, "n_gen": 128, "n_depth": 0, "avg_ns": 9},
]
VLLM = {
    "model_id": "meta-llama/Meta-Llama-3-8B", "completed": 100, "num_prompts": 100, "max_concurrency": 16,
    "request_rate": "inf", "total_input_tokens": 51_200, "total_output_tokens": 12_800,
    "median_ttft_ms": 80.0, "median_tpot_ms": 9.5,
}  # fmt: skip
GUIDELLM = {
    "args": {"model": "llama-3-8b"},
    "benchmarks": [
        {
            "config": {"strategy": {"type_": "concurrent", "streams": streams}},
            "metrics": {
                "time_to_first_token_ms": {"successful": {"median": 30.0}},
                "inter_token_latency_ms": {"successful": {"median": 8.0}},
                "prompt_token_count": {"successful": {"median": 256}},
                "output_token_count": {"successful": {"median": 128}},
            },
        }
        for streams in (1, 8)
    ],
}
AIPERF = {
    "input_config": {"loadgen": {"concurrency": 4}, "endpoint": {"model_names": ["qwen2.5-7b"]}},
    "time_to_first_token": {"unit": "ms", "avg": 60.0, "p50": 55.0},
    "inter_token_latency": {"unit": "ms", "avg": 7.2, "p50": 7.0},
    "input_sequence_length": {"unit": "tokens", "avg": 1000.0},
    "output_sequence_length": {"unit": "tokens", "avg": 200.0},
}


def read(tmp_path: Path, content: object, **options: str) -> list[dict]:
    file = tmp_path / "measured.json"
    file.write_text(json.dumps(content))
    return read_measurements(file, **options)


def short(row: dict) -> tuple:
    return row["phase"], row["batch"], row["positions"], pytest.approx(row["latency_s"])


def test_llama_bench(tmp_path: Path) -> None:
    rows = read(tmp_path, LLAMA_BENCH, model="llama-3-8b")
    assert [short(row) for row in rows] == [("prefill", 1, 512, 0.025), ("decode", 1, 576, 0.01)]
    lines = tmp_path / "bench.jsonl"
    lines.write_text("\n".join(json.dumps(one) for one in LLAMA_BENCH))
    assert read_measurements(lines, model="llama-3-8b") == rows


def test_vllm_bench(tmp_path: Path) -> None:
    rows = read(tmp_path, VLLM)
    assert [short(row) for row in rows] == [("decode", 16, 576, 0.0095)]
    assert rows[0]["model"] == "meta-llama/Meta-Llama-3-8B"
    one = read(tmp_path, {**VLLM, "max_concurrency": 1})
    assert short(one[1]) == ("prefill", 1, 512, 0.08)
    with pytest.raises(BadInput, match="max-concurrency"):
        read(tmp_path, {**VLLM, "max_concurrency": None, "request_rate": 4.0})


def test_guidellm(tmp_path: Path) -> None:
    rows = read(tmp_path, GUIDELLM)
    assert [short(row) for row in rows] == [
        ("decode", 1, 320, 0.008), ("prefill", 1, 256, 0.03), ("decode", 8, 320, 0.008),
    ]  # fmt: skip


def test_aiperf_and_genai_perf(tmp_path: Path) -> None:
    assert [short(row) for row in read(tmp_path, AIPERF)] == [("decode", 4, 1100, 0.007)]
    older = {
        **AIPERF,
        "input_config": {"perf_analyzer": {"stimulus": {"concurrency": 2}}, "model_names": ["gpt2"]},
    }
    assert read(tmp_path, older)[0]["batch"] == 2
    with pytest.raises(BadInput, match="concurrency"):
        read(tmp_path, {**AIPERF, "input_config": {}})


def test_rows_and_csv(tmp_path: Path) -> None:
    row = {"model": "opt-13b", "phase": "decode", "batch": 2, "prompt": 100, "latency_s": 0.02}
    assert short(read(tmp_path, {"dtype": "fp16", "rows": [row]})[0]) == ("decode", 2, 101, 0.02)
    file = tmp_path / "rows.csv"
    file.write_text("model,phase,batch,prompt,latency_s\nopt-13b,prefill,2,100,0.5\n")
    assert short(read_measurements(file)[0]) == ("prefill", 2, 100, 0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("not json {", "neither JSON"),
        ("{}", "none of the known forms"),
        ('{"rows": [{"model": "opt-13b", "latency_s": 1.0}]}', "batch"),
        ('{"rows": [{"model": "opt-13b", "batch": 1, "prompt": 9, "latency_s": -1.0}]}', "latency_s"),
        ('{"rows": [{"model": "opt-13b", "batch": 1, "prompt": 9, "latency_s": NaN}]}', "latency_s"),
        ('{"rows": [{"model": "opt-13b", "batch": 0, "prompt": 9, "latency_s": 1.0}]}', "batch"),
        (
            '{"rows": [{"model": "opt-13b", "batch": 1, "prompt": 9, "phase": "x", "latency_s": 1.0}]}',
            "phase",
        ),
        ('[{"n_prompt": 5, "n_gen": 0, "avg_ns": 5000}]', "--model"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "measured.json"
    file.write_text(text)
    with pytest.raises(BadInput, match=message):
        read_measurements(file)
    with pytest.raises(BadInput, match="no such file"):
        read_measurements(tmp_path / "absent.json")
