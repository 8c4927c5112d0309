"""The commands, as a user and a script meet them."""

import json
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from checkpoint_lens import load_model, open_checkpoint
from checkpoint_lens import perplexity as judge
from checkpoint_lens.cli import app

pytest.importorskip("torch")


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def answer(*words):
    done = run(*words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture
def prose(tmp_path, text):
    (tmp_path / "prose.txt").write_text(text, encoding="utf-8")
    return tmp_path / "prose.txt"


def test_ls_lists_every_tensor_without_reading(write_llama):
    folder = write_llama(change=lambda w: w["model.norm.weight"].__setitem__(0, np.nan))
    got = answer("ls", folder)
    assert got["tensors"] == [
        {"name": t.name, "shape": list(t.shape), "dtype": t.dtype, "bytes": t.nbytes}
        for t in open_checkpoint(folder).tensors.values()
    ]
    assert got["total_bytes"] == sum(t["bytes"] for t in got["tensors"])
    assert got["tool"] == "checkpoint-lens"
    assert "model.norm.weight" in run("ls", folder / "model.safetensors").stdout


def test_layers(write_llama):
    folder = write_llama()
    wanted = [
        layer.to_dict() | {"shape": list(layer.shape)} for layer in open_checkpoint(folder).linear_layers()
    ]
    assert answer("layers", folder)["layers"] == wanted


def test_perplexity_is_that_of_the_library(write_llama, prose, text):
    folder = write_llama()
    got = answer("perplexity", folder, "--text", prose, "--context", 64, "--max-tokens", 200)
    wanted = judge(load_model(folder), text, context=64, max_tokens=200).to_dict()
    assert {key: got[key] for key in wanted} == pytest.approx(wanted)
    assert got["inputs"]["context"] == 64


def test_attention(write_llama, prose):
    got = answer("attention", write_llama(), "--text", prose, "--context", 64)
    assert len(got["heads"]) == 8
    assert got["low_rank"] == 8  # a head of 8 dimensions has no more than 8 directions


BAD = [
    (["ls", "gone"], "no such file or folder"),
    (["ls", "{tmp}/hollow"], "no weights"),
    (["perplexity", "{model}", "--text", "gone.txt"], "no such text file"),
    (["perplexity", "{model}", "--text", "{tmp}/empty.txt"], "empty"),
    (["perplexity", "{model}", "--text", "{tmp}/binary.txt"], "UTF-8"),
    (["perplexity", "{model}", "--text", "{tmp}/one.txt"], "1 token"),
    (
        ["perplexity", "{model}", "--text", "{tmp}/prose.txt", "--context", "99999999999999999999"],
        "over the 512",
    ),
    (["perplexity", "{model}", "--text", "{tmp}/prose.txt", "--context", "-4"], "too short"),
    (["perplexity", "{model}", "--text", "{tmp}/prose.txt", "--max-tokens", "0"], "too small"),
    (["perplexity", "{model}", "--text", "{tmp}/prose.txt", "--dtype", "int4"], "int4"),
    (["perplexity", "{nan}", "--text", "{tmp}/prose.txt"], "model.norm.weight"),
    (["perplexity", "{model}", "--text", "reference:poem"], "no reference text 'poem'"),
]


@pytest.mark.parametrize(("words", "says"), BAD, ids=[says for _, says in BAD])
def test_bad_input_is_one_line_and_2(tmp_path, write_llama, prose, words, says):
    (tmp_path / "hollow").mkdir()
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "one.txt").write_text("a")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    places = {
        "tmp": tmp_path,
        "model": write_llama(),
        "nan": write_llama("nan", change=lambda w: w["model.norm.weight"].__setitem__(0, np.nan)),
    }
    output = tmp_path / "report.json"
    done = run(*(word.format(**places) for word in words), "--output", output)
    assert done.exit_code == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not output.exists()


def test_the_command_as_installed(write_llama, tmp_path):
    code = "from checkpoint_lens.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "ls", str(tmp_path / "gone")], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


def test_help_loads_no_torch():
    code = (
        "import sys; sys.argv = ['checkpoint-lens', 'perplexity', '--help']\n"
        "from checkpoint_lens.cli import main\n"
        "try: main()\n"
        "except SystemExit: print([m for m in ('torch', 'transformers', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "checkpoint-lens perplexity reference" in done.stdout
