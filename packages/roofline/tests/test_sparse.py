"""Rates with sparsity are recognised, dense ones are not suspected."""

from dataclasses import replace
from pathlib import Path

from typer.testing import CliRunner

from roofline import Device, analyze, device, devices
from roofline.cli import app
from roofline.sparse import sparse_looking


def test_no_bundled_device_is_suspected() -> None:
    for entry in devices().values():
        assert sparse_looking(entry) == []
        assert sparse_looking(replace(entry, link_bytes_per_s=1e11)) == []


def test_twice_the_rate_of_the_same_model() -> None:
    (words,) = sparse_looking(Device("my H100 box", {"bf16": 1979e12}, 3e12))
    assert "twice the dense 989" in words
    assert sparse_looking(Device("my H100 box", {"bf16": 780e12}, 3e12)) == []


def test_a_narrow_format_that_is_too_fast() -> None:
    (words,) = sparse_looking(Device("unknown", {"bf16": 100e12, "fp8": 400e12}, 1e12))
    assert "fp8 is 4 times bf16" in words
    assert sparse_looking(Device("unknown", {"bf16": 100e12, "fp8": 200e12}, 1e12)) == []


def test_the_number_of_gigabytes_is_no_model() -> None:
    twice = 2 * device("H100-SXM5-80GB").peaks_flop_per_s["bf16"]
    assert sparse_looking(Device("something 80GB SXM5", {"bf16": twice}, 1e12)) == []


def test_analyze_and_the_command_say_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        '[[device]]\nname = "L4 of mine"\n'
        "peaks_flop_per_s = { bf16 = 242e12 }\nbandwidth_bytes_per_s = 3e11\n"
    )
    found = analyze("gpt2", device=device("L4 of mine", table=path))
    assert any("not those with sparsity" in note for note in found.notes)
    done = CliRunner().invoke(app, ["devices", "--name", "L4 of mine", "--devices", str(path)])
    assert done.exit_code == 0
    assert "not those with sparsity" in done.stdout
