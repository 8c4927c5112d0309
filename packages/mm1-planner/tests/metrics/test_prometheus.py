"""A real Prometheus that scrapes a small exporter; and servers that are none."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mfi_command import BadInput
from mm1_planner.metrics.fit import fit_windows
from mm1_planner.metrics.series import era_of, windows_of
from mm1_planner.metrics.sources import query_prometheus

ALPHA_S, BETA_S = 0.02, 0.001
SELECTOR = 'model_name="llama"'


def exposition(elapsed_s: float) -> str:
    """vLLM's metrics after so long under a load that grows by eight sequences a second from four on."""
    steps = [(index + 0.5) * elapsed_s / 400 for index in range(400)]
    decoding = [4 + 8 * step for step in steps]
    width = elapsed_s / 400
    tokens = sum(each / (ALPHA_S + BETA_S * each) for each in decoding) * width
    values = {
        "inter_token_latency_seconds_sum": sum(decoding) * width,
        "inter_token_latency_seconds_count": tokens,
        "generation_tokens_total": tokens,
        "prompt_tokens_total": 0.0,
        "request_success_total": tokens / 100,
        "num_requests_running": 4 + 8 * elapsed_s,
        "num_requests_waiting": float("nan"),
        "kv_cache_usage_perc": 0.1,
    }
    lines = [f"vllm:{name}{{{SELECTOR}}} {value!r}\n" for name, value in values.items()]
    return "".join(lines).replace("nan", "NaN")


class Exporter(BaseHTTPRequestHandler):
    """What a vLLM server answers at /metrics."""

    begun = 0.0

    def do_GET(self) -> None:
        body = exposition(time.monotonic() - Exporter.begun).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def exporter() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Exporter)
    Exporter.begun = time.monotonic()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def prometheus(exporter: int, tmp_path: Path) -> Iterator[str]:
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed (Debian's package prometheus)")
    config = tmp_path / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 300ms, scrape_timeout: 300ms}\n"
        f"scrape_configs: [{{job_name: vllm, static_configs: [{{targets: ['127.0.0.1:{exporter}']}}]}}]\n"
    )
    port = free_port()
    options = [f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}"]
    process = subprocess.Popen(
        [program, *options, f"--web.listen-address=127.0.0.1:{port}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(20)


def wait_for(address: str, moments: int) -> list:
    """Until the server has scraped so often."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            snapshots = query_prometheus(address, end_s=time.time(), duration_s=60, selector=SELECTOR)
        except BadInput:
            snapshots = []
        if len(snapshots) >= moments:
            return snapshots
        time.sleep(0.3)
    raise AssertionError("prometheus did not scrape in time")


def test_a_real_prometheus_gives_the_iteration_time_back(prometheus: str) -> None:
    snapshots = wait_for(prometheus, 14)
    found = fit_windows(windows_of(snapshots), era=era_of(snapshots))
    assert found.era == "v1 from 0.11"
    assert found.replicas == 1
    assert found.resets == 0
    assert found.mean_output_tokens == pytest.approx(100, rel=1e-6)
    # The exporter's clock and the scraper's differ by what a request takes.
    assert found.value("alpha_s") == pytest.approx(ALPHA_S, rel=0.25)
    assert found.value("beta_s") == pytest.approx(BETA_S, rel=0.25)
    with pytest.raises(BadInput, match="holds no metric"):
        query_prometheus(prometheus, end_s=time.time(), duration_s=60, selector='model_name="other"')
    with pytest.raises(BadInput, match="refuses"):
        query_prometheus(prometheus, end_s=time.time(), duration_s=60, selector="model_name=")


def test_servers_that_are_none(exporter: int) -> None:
    now = {"end_s": time.time(), "duration_s": 60.0}
    with pytest.raises(BadInput, match="no Prometheus answers"):
        query_prometheus(f"http://127.0.0.1:{free_port()}", **now)
    with pytest.raises(BadInput, match=r"refuses|no Prometheus"):
        query_prometheus(f"http://127.0.0.1:{exporter}", **now)
    with pytest.raises(BadInput, match="no URL"):
        query_prometheus("file:///etc/passwd", **now)


def test_answers_with_special_numbers_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    result = [
        {
            "metric": {"__name__": "vllm:generation_tokens_total"},
            "values": [[1.0, "0"], [2.0, "NaN"], [3.0, "7"]],
        },
        {"metric": {"__name__": "vllm:num_requests_running"}, "values": [[1.0, "+Inf"]]},
    ]

    class Reply:
        def __enter__(self) -> Reply:
            return self

        def __exit__(self, *_: object) -> None:
            return None

        def read(self) -> bytes:
            return json.dumps({"status": "success", "data": {"result": result}}).encode()

    monkeypatch.setattr("urllib.request.urlopen", lambda *args, **options: Reply())
    snapshots = query_prometheus("http://x", end_s=3, duration_s=3)
    assert [snapshot.time_s for snapshot in snapshots] == [1, 2, 3]
    assert windows_of(snapshots)[0].counts == {}
