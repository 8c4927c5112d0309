"""What vLLM's and GuideLLM's benchmarks write, in the shapes of their versions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mfi_command import BadInput
from mm1_planner import read_trace

VLLM = {
    "date": "20260102-030405",
    "completed": 2,
    "request_rate": 4.0,
    "input_lens": [100, 200, 50],
    "output_lens": [3, 2, 0],
    "ttfts": [0.1, 0.2, 0.0],
    "itls": [[0.05, 0.07], [0.1], []],
    "start_times": [10.0, 12.5, 11.5],
    "errors": ["", "", "timeout"],
}


def request(time: str, at: float, prompt: int | None, output: int | None) -> dict[str, object]:
    return {time: at, "prompt_tokens": prompt, "output_tokens": output, "output": "text"}


def guidellm(time: str, benchmarks: int = 1) -> dict[str, object]:
    one = {
        "requests": {
            "successful": [request(time, 1700000000.5, 10, 5), request(time, 1700000002.5, 20, 7)],
            "incomplete": [request(time, 1700000003.0, 30, 1)],
            "errored": [request(time, 1700000001.0, None, None)],
        }
    }
    return {"metadata": {}, "benchmarks": [one] * benchmarks}


def written(tmp_path: Path, document: object) -> Path:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(document))
    return path


def test_vllm_detailed_results(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, VLLM))
    np.testing.assert_array_equal(trace.arrivals_s, [0, 1.5, 2.5])
    assert [lengths.tolist() for lengths in trace.lengths()] == [[100, 50, 200], [3, 1, 2]]
    assert trace.texts["status"] == ["successful", "errored", "successful"]


@pytest.mark.parametrize("time", ["start_time", "request_start_time"])
def test_guidellm_before_and_after_0_4(tmp_path: Path, time: str) -> None:
    trace = read_trace(written(tmp_path, guidellm(time)))
    np.testing.assert_allclose(trace.arrivals_s, [0, 0.5, 2, 2.5])
    assert trace.texts["status"] == ["successful", "errored", "successful", "incomplete"]
    assert [lengths.tolist() for lengths in trace.lengths()] == [[10, 1, 20, 30], [5, 1, 7, 1]]


def test_a_part_is_chosen_among_several(tmp_path: Path) -> None:
    path = written(tmp_path, guidellm("start_time", benchmarks=3))
    with pytest.raises(BadInput, match=r"3 benchmarks.*--part"):
        read_trace(path)
    assert read_trace(path, part=3).requests == 4
    with pytest.raises(BadInput, match="no part 4"):
        read_trace(path, part=4)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"hello": 1}, "is not what"),
        ([1, 2], "is not what"),
        ({key: VLLM[key] for key in ("input_lens", "output_lens")}, "--save-detailed"),
        (VLLM | {"start_times": [1.0]}, "start_times of result.json"),
        (VLLM | {"output_lens": 5}, "output_lens of result.json"),
        ({"benchmarks": []}, "0 benchmarks"),
        ({"benchmarks": [{}]}, "has no requests"),
        ({"benchmarks": [{"requests": {"successful": [7]}}]}, "is no object"),
        ({"benchmarks": [{"requests": {"successful": [{"prompt_tokens": 1}]}}]}, "no request_start_time"),
        ({"benchmarks": [{"requests": {"successful": []}}]}, "0 requests"),
    ],
)
def test_documents_that_are_none(tmp_path: Path, document: object, reason: str) -> None:
    with pytest.raises(BadInput, match=reason) as caught:
        read_trace(written(tmp_path, document))
    assert "\n" not in str(caught.value)


def test_text_that_is_no_json_and_parts_where_there_are_none(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text('{"a": 1}\n{"a": 2}\n')
    with pytest.raises(BadInput, match="jsonl"):
        read_trace(path)
    table = tmp_path / "log.csv"
    table.write_text("time\n1\n2\n")
    with pytest.raises(BadInput, match="no parts"):
        read_trace(table, part=1)
