"""The commands about formats, sums, weights that are stuck, and audits of files: numbers and bad input."""

import json
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from stable_ops.cli import app, main


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def answer(*arguments: str, code: int = 0) -> dict:
    result = run(*arguments, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder of good and bad files, in which the command runs."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "ones.npy", np.ones(4096))
    np.save(tmp_path / "nan.npy", np.array([1.0, np.nan]))
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object))
    np.save(tmp_path / "none.npy", np.zeros(0))
    rows = 3000 + rng.standard_normal((64, 64)).astype(np.float32)
    np.savez(tmp_path / "activations.npz", large=np.array([1e5, 1.0]), rows=rows, text=np.array(["a"]))
    np.savez(tmp_path / "weights.npz", a=np.ones(4), b=np.full(6, 0.01))
    np.savez(tmp_path / "gradients.npz", a=np.ones(4), b=np.ones(6))
    np.savez(tmp_path / "nothing.npz")
    whole = (tmp_path / "activations.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    for name in ("empty.npz", "empty.npy", "empty.txt", "empty.toml"):
        (tmp_path / name).write_text("")
    (tmp_path / "words.txt").write_text("one two")
    (tmp_path / "numbers.txt").write_text("1, 2\n3\t4\n")
    (tmp_path / "mine.toml").write_text("[fp9]\nexponent_bits = 5\nmantissa_bits = 3\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_formats():
    found = answer("formats")
    by_name = {f["format"]: f for f in found["formats"]}
    assert by_name["fp6_e2m3"]["max"] == 7.5
    assert by_name["fp8_e4m3fnuz"]["min_subnormal"] == 2.0**-10
    assert {b["format"]: b["bits_per_element"] for b in found["block_formats"]}["mxfp4_e2m1"] == 4.25


def test_a_format_of_ones_own(files):
    assert answer("format", "e5m3")["max"] == answer("format", "mine.toml")["max"] == 61440
    assert answer("accumulate", "--format", "mine.toml:fp9", "--value", "1", "--count", "100")["sum"] == 16


def test_round():
    assert answer("round", "1.99", "--format", "e2m1", "--rounding", "toward-zero")["rounded"] == 1.5
    found = answer("round", "0.1", "--format", "fp16")
    assert found["rounded"] == float(np.float16(0.1))
    assert found["error_ulp"] <= 0.5
    drawn = {
        answer("round", "1.2", "--format", "e2m1", "--rounding", "stochastic", "--seed", str(s))["rounded"]
        for s in range(8)
    }
    assert drawn == {1.0, 1.5}


def test_accumulate_files(files):
    assert answer("accumulate", "--values", "numbers.txt")["sum"] == 10
    assert answer("accumulate", "--values", "numbers.txt", "--times", "numbers.txt")["sum"] == 30
    stuck = answer(
        "accumulate", "--values", "ones.npy", "--format", "bf16", "--order", "blocked", "--block", "4"
    )
    assert (stuck["sum"], stuck["stagnated_at"]) == (1024, 1024)
    assert (
        "running sums"
        in run(
            "accumulate", "--values", "ones.npy", "--format", "bf16", "--order", "blocked", "--block", "4"
        ).stdout
    )


def test_accumulate_stochastically():
    options = ("--rounding", "stochastic", "--count", "10000")
    first, again, *others = (answer("accumulate", *options, "--seed", s) for s in ("1", "1", "2", "3", "4"))
    assert first["sum"] == again["sum"]
    assert len({found["sum"] for found in [first, *others]}) > 1
    assert all(abs(found["sum"] - 1) < 0.1 and found["stagnated_at"] is None for found in others)


def test_stagnation(files):
    found = answer("stagnation", "weights.npz", "--gradients", "gradients.npz", "--lr", "1e-3")
    assert (found["stuck"], found["size"], found["format_needed"]) == (4, 10, "fp16")
    assert found["lr_needed"] == 2.0**-9
    assert [t["stuck"] for t in found["tensors"]] == [4, 0]
    assert run("stagnation", "weights.npz", "--lr", "1e-3", "--max-share", "0.1").exit_code == 1
    assert answer("stagnation", "ones.npy", "--gradients", "ones.npy", "--lr", "1e-3")["share"] == 1
    assert "0.00195312" in run("stagnation", "weights.npz", "--lr", "1e-3").stdout


def test_audit_of_a_file_of_tensors(files):
    pytest.importorskip("torch")
    found = answer("audit", "activations.npz", "--max-hazards", "0", code=1)["hazards"]
    assert {(h["where"], h["op"], h["kind"], h["format"], h["safe_dtype"]) for h in found} == {
        ("large", "store", "overflow", "fp16", "bf16"),
        ("rows", "var", "cancellation", "fp16", "fp32"),
        ("rows", "var", "cancellation", "bf16", "fp32"),
    }


def test_audit_of_the_bundled_model():
    pytest.importorskip("torch")
    pytest.importorskip("checkpoint_lens")
    found = answer("audit", "reference", "--tokens", "32", "--format", "fp16")
    assert found["operations"] > 100
    assert found["hazards"] == []


def test_audit_of_a_checkpoint_without_checkpoint_lens(files, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setitem(sys.modules, "checkpoint_lens", None)
    result = run("audit", "reference")
    assert result.exit_code == 2
    assert "pip install" in result.stderr
    assert "checkpoint-lens[torch]" in result.stderr


BAD_INPUT = [
    ("format e99m1", "2 to 11"),
    ("format none.toml", "none.toml"),
    ("format empty.toml", "no format"),
    ("round nan --format fp4", "no NaN"),
    ("round x", "valid number"),
    ("round 1 --rounding up", "toward-zero"),
    ("accumulate --values absent.npy", "absent.npy"),
    ("accumulate --values empty.npy", "empty.npy"),
    ("accumulate --values empty.txt", "is empty"),
    ("accumulate --values words.txt", "one"),
    ("accumulate --values nan.npy", "finite"),
    ("accumulate --values objects.npy", "objects.npy"),
    ("accumulate --values none.npy", "is empty"),
    ("accumulate --values numbers.txt --times ones.npy", "one length"),
    ("accumulate --rounding up", "toward-zero"),
    ("accumulate --value 1e400", "finite"),
    ("accumulate --rounding stochastic --format fp64", "nearest only"),
    ("stagnation absent.npz", "absent.npz"),
    ("stagnation empty.npz", "empty.npz"),
    ("stagnation cut.npz", "cut.npz"),
    ("stagnation nan.npy", "NaN"),
    ("stagnation weights.npz --gradients activations.npz", "give the same"),
    ("stagnation activations.npz", "text"),
    ("stagnation weights.npz --lr nan", "lr"),
    ("stagnation weights.npz --lr 1e400", "lr"),
    ("stagnation weights.npz --allowed 1", "allowed"),
    ("audit absent.npz", "absent.npz"),
    ("audit empty.npz", "empty.npz"),
    ("audit empty.npy", "empty.npy"),
    ("audit objects.npy", "objects.npy"),
    ("audit cut.npz", "cut.npz"),
    ("audit nan.npy", "NaN"),
    ("audit nothing.npz", "no tensor"),
    ("audit words.txt", "nothing to audit"),
    ("audit absent/model", "nothing to audit"),
    ("audit activations.npz --format fp32", "fp32"),
    ("audit activations.npz --accumulator int8", "int8"),
    ("audit reference --tokens 0", "--tokens"),
]


@pytest.mark.parametrize(("line", "message"), BAD_INPUT)
def test_bad_input_is_one_line_and_code_2(line, message, files, monkeypatch, capsys):
    if line.startswith("audit"):
        pytest.importorskip("torch")
    out = files / "out.json"
    monkeypatch.setattr(sys, "argv", ["stable-ops", *line.split(), "--output", str(out)])
    with pytest.raises(SystemExit) as end:
        main()
    printed = capsys.readouterr()
    assert end.value.code == 2, printed
    assert message in printed.err
    assert printed.out == ""
    assert len(printed.err.strip().splitlines()) == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("line", "message"), [("audit reference --text empty.txt", "no text"), ("audit .", "name one file")]
)
def test_bad_input_of_a_checkpoint(line, message, files, monkeypatch, capsys):
    pytest.importorskip("torch")
    pytest.importorskip("checkpoint_lens")
    test_bad_input_is_one_line_and_code_2(line, message, files, monkeypatch, capsys)
