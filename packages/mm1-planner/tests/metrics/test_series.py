"""Scrapes in the three namings of vLLM, counters that begin anew, and numbers that are missing."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from mfi_command import BadInput
from mm1_planner.metrics.names import era, ours
from mm1_planner.metrics.series import Snapshot, era_of, windows_of
from mm1_planner.metrics.sources import parse_scrape, read_scrapes

pytest.importorskip("prometheus_client", reason="the extra [metrics] is not installed")

V0 = """\
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{model_name="m"} 3.0
# TYPE vllm:num_requests_swapped gauge
vllm:num_requests_swapped{model_name="m"} 0.0
# TYPE vllm:gpu_cache_usage_perc gauge
vllm:gpu_cache_usage_perc{model_name="m"} 0.25
# TYPE vllm:generation_tokens counter
vllm:generation_tokens_total{model_name="m"} 900.0
# TYPE vllm:request_success counter
vllm:request_success_total{finished_reason="stop",model_name="m"} 7.0
vllm:request_success_total{finished_reason="length",model_name="m"} 2.0
# TYPE vllm:time_per_output_token_seconds histogram
vllm:time_per_output_token_seconds_bucket{le="0.05",model_name="m"} 800.0
vllm:time_per_output_token_seconds_bucket{le="+Inf",model_name="m"} 891.0
vllm:time_per_output_token_seconds_count{model_name="m"} 891.0
vllm:time_per_output_token_seconds_sum{model_name="m"} 17.82
"""
V1 = "\n".join(line for line in V0.splitlines() if "swapped" not in line) + "\n"
V1_11 = V1.replace("gpu_cache", "kv_cache").replace("time_per_output_token", "inter_token_latency")
EXPECTED = {
    "running": 3.0,
    "kv_usage": 0.25,
    "generation_tokens": 900.0,
    "itl_count": 891.0,
    "itl_sum_s": 17.82,
}


@pytest.mark.parametrize(("text", "name"), [(V0, "v0"), (V1, "v1"), (V1_11, "v1 from 0.11")])
@pytest.mark.parametrize("colon", [":", "_"])
def test_three_namings_are_one(text: str, name: str, colon: str) -> None:
    snapshot = parse_scrape(text.replace("vllm:", f"vllm{colon}"), 5.0)
    read = {key[1]: value for key, value in snapshot.values.items() if key[1] != "completed"}
    assert read == EXPECTED
    completed = [value for key, value in snapshot.values.items() if key[1] == "completed"]
    assert sorted(completed) == [2.0, 7.0]
    assert snapshot.replicas == [(("model_name", "m"),)]
    assert era_of([snapshot]) == name


def test_of_two_names_side_by_side_the_new_one_counts() -> None:
    for texts in ((V1, V1_11), (V1_11, V1)):
        changed = [text.replace("0.25", "0.5") if text is V1 else text for text in texts]
        snapshot = Snapshot(0.0)
        for text in changed:
            for key, value in parse_scrape(text, 0.0).values.items():
                name = "vllm:gpu_cache_usage_perc" if "0.5" in text else "vllm:kv_cache_usage_perc"
                if key[1] == "kv_usage":
                    snapshot.add(name, dict(key[0]), value)
        assert list(snapshot.values.values()) == [0.25]


def test_names_that_are_not_needed() -> None:
    assert ours("vllm:cache_config_info") is None
    assert era(["up", "process_cpu_seconds_total"]) == "unknown"


def snapshot(time_s: float, **values: float) -> Snapshot:
    made = Snapshot(time_s)
    names = {"tokens": "vllm:generation_tokens_total", "running": "vllm:num_requests_running"}
    for name, value in values.items():
        what, _, pod = name.partition("_")
        made.add(names[what], {"pod": pod or "a"}, value)
    return made


def test_a_counter_that_fell_began_anew() -> None:
    (first, second) = windows_of([snapshot(0, tokens=100), snapshot(10, tokens=160), snapshot(20, tokens=40)])
    assert (first.counts["generation_tokens"], first.resets) == (60, 0)
    assert (second.counts["generation_tokens"], second.resets) == (40, 1)


def test_nan_is_missing_and_idle_is_nothing() -> None:
    nan = math.nan
    windows = windows_of(
        [snapshot(0, tokens=5), snapshot(10, tokens=nan), snapshot(20, tokens=9, running=nan)]
    )
    assert [window.counts for window in windows] == [{}, {}]
    assert math.isnan(windows[1].running)
    (idle,) = windows_of([snapshot(0, tokens=5), snapshot(10, tokens=5)])
    assert idle.counts["generation_tokens"] == 0
    assert math.isnan(idle.mean("itl"))


def test_replicas_are_read_at_their_own_moments() -> None:
    moments = [
        snapshot(0, tokens_a=0, tokens_b=0),
        snapshot(7, tokens_b=70),
        snapshot(10, tokens_a=50),
        snapshot(14, tokens_b=100),
    ]
    found = [(dict(w.replica)["pod"], w.seconds, w.counts["generation_tokens"]) for w in windows_of(moments)]
    assert found == [("a", 10, 50), ("b", 7, 70), ("b", 7, 30)]
    joined = windows_of(moments, least_s=12)
    assert [(w.seconds, w.counts["generation_tokens"]) for w in joined] == [(14, 100)]


def test_a_replica_that_comes_later_has_begun_at_nothing() -> None:
    late = Snapshot(10.0)
    late.add("vllm:num_requests_running", {"pod": "a"}, 1.0)
    late.add("vllm:generation_tokens_total", {"pod": "a"}, 30.0)
    (window,) = windows_of([snapshot(0, running=0), late])
    assert window.counts["generation_tokens"] == 30


@pytest.mark.parametrize("text", ["{", "a b c d e\n", "", "up 1\n"])
def test_texts_that_are_no_scrape(tmp_path: Path, text: str) -> None:
    file, good = tmp_path / "bad.txt", tmp_path / "good.txt"
    file.write_text(text)
    good.write_text(V0)
    with pytest.raises(BadInput, match=r"bad\.txt") as caught:
        read_scrapes([good, file], 30)
    assert "\n" not in str(caught.value)


def test_one_scrape_tells_nothing(tmp_path: Path) -> None:
    file = tmp_path / "one.txt"
    file.write_text(V0)
    with pytest.raises(BadInput, match="at least two"):
        read_scrapes([file], 30)
    assert len(read_scrapes([file, file], 30)) == 2


def test_the_size_of_the_cache_is_read_from_its_labels() -> None:
    info = 'vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="1000"} 1.0\n'
    first, second = (parse_scrape(V1_11 + info, time_s) for time_s in (0.0, 30.0))
    (window,) = windows_of([first, second])
    assert (window.kv_usage, window.cache_tokens) == (0.25, 16_000)
    # Two sizes that no label tells apart, and one that is not known yet, are none.
    for other in (info + info.replace("1000", "2000"), info.replace("1000", "None")):
        later = parse_scrape(V1_11 + other, 30.0)
        assert math.isnan(windows_of([first, later])[0].cache_tokens)
