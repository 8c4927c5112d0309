"""What vLLM's metrics were called, from its first engine until now."""

from __future__ import annotations

from collections.abc import Iterable

COUNTERS = {
    "completed": ("vllm:request_success_total",),
    "prompt_tokens": ("vllm:prompt_tokens_total",),
    "generation_tokens": ("vllm:generation_tokens_total",),
    "itl_sum_s": ("vllm:inter_token_latency_seconds_sum", "vllm:time_per_output_token_seconds_sum"),
    "itl_count": ("vllm:inter_token_latency_seconds_count", "vllm:time_per_output_token_seconds_count"),
    "ttft_sum_s": ("vllm:time_to_first_token_seconds_sum",),
    "ttft_count": ("vllm:time_to_first_token_seconds_count",),
    "e2e_sum_s": ("vllm:e2e_request_latency_seconds_sum",),
    "e2e_count": ("vllm:e2e_request_latency_seconds_count",),
    "wait_sum_s": ("vllm:request_queue_time_seconds_sum",),
    "wait_count": ("vllm:request_queue_time_seconds_count",),
}
"""Our name, and vLLM's from the newest to the oldest."""

GAUGES = {
    "running": ("vllm:num_requests_running",),
    "waiting": ("vllm:num_requests_waiting",),
    "kv_usage": ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
}

_ALL = COUNTERS | GAUGES
# Some exporters write '_' where vLLM writes ':'.
_OURS = {
    name.replace(":", "_"): (ours, age) for ours, names in _ALL.items() for age, name in enumerate(names)
}

CACHE = "vllm:cache_config_info"
"""Its labels hold the size of the KV cache: `num_gpu_blocks` blocks of `block_size` tokens."""

VLLM_NAMES = (*(name for names in _ALL.values() for name in names), CACHE)
"""Every name that is asked of a Prometheus server."""


def ours(name: str) -> tuple[str, int] | None:
    """Our name of a sample, and how old vLLM's name for it is (0 the newest); None if it is not needed.

    Examples
    --------
    >>> ours("vllm:gpu_cache_usage_perc"), ours("vllm_kv_cache_usage_perc"), ours("process_cpu_seconds_total")
    (('kv_usage', 1), ('kv_usage', 0), None)
    """
    return _OURS.get(name.replace(":", "_"))


def era(names: Iterable[str]) -> str:
    """Which naming the metrics follow: `v0`, `v1`, `v1 from 0.11`, or `unknown`.

    The first engine had swapping (`num_requests_swapped`, `cpu_cache_usage_perc`); the second dropped that
    and kept `gpu_cache_usage_perc` and `time_per_output_token_seconds`; since 0.11 they are called
    `kv_cache_usage_perc` and `inter_token_latency_seconds`.
    """
    seen = {name.replace(":", "_").removeprefix("vllm_") for name in names}
    if seen & {"num_requests_swapped", "cpu_cache_usage_perc"}:
        return "v0"
    if "kv_cache_usage_perc" in seen or any(name.startswith("inter_token_latency_seconds") for name in seen):
        return "v1 from 0.11"
    if "gpu_cache_usage_perc" in seen or any(name.startswith("time_per_output_token") for name in seen):
        return "v1"
    return "unknown"
