"""The command: its numbers, its JSON, its exit codes."""

import json
import subprocess
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


def test_format():
    constants = answer("format", "fp16")
    assert constants["eps"] == 9.765625e-4
    assert (constants["bits"], constants["max"]) == (16, 65504)
    assert constants["min_normal"] == float(np.finfo(np.float16).tiny)
    assert constants["min_subnormal"] == float(np.finfo(np.float16).smallest_subnormal)
    assert "0.0009765625" in run("format", "fp16").stdout


def test_accumulate():
    options = ("--format", "fp16", "--value", "1e-4", "--count", "10000")
    stuck = answer("accumulate", *options, "--order", "sequential")
    assert stuck["sum"] == 0.25
    assert stuck["exact"] == 10_000 * float(np.float16(1e-4))
    assert stuck["relative_error"] == pytest.approx(0.75, rel=1e-3)
    assert 0 < stuck["stagnated_at"] < 10_000
    kahan = answer("accumulate", *options, "--order", "kahan")
    assert kahan["relative_error"] < 2**-11
    assert kahan["stagnated_at"] is None
    assert "stayed the same" in run("accumulate", *options).stdout


def test_qr():
    methods = {m["name"]: m for m in answer("qr", "--condition", "1e6", "--dtype", "float32")["methods"]}
    assert methods["classical"]["orthogonality"] > 0.1
    assert methods["householder"]["orthogonality"] < 1e-4
    assert all(m["backward_error"] < 30 for m in methods.values())


def test_check_passes_ours_and_fails_a_fault(tmp_path, monkeypatch):
    (tmp_path / "kernels_of_mine.py").write_text(
        "import numpy as np\ndef bad(x):\n    e = np.exp(x)\n    return e / e.sum(axis=-1, keepdims=True)\n"
    )
    monkeypatch.chdir(tmp_path)
    good = answer("check", "stable_ops:softmax", "--against", "softmax", "--max-ulp", "0.5")
    assert good["failures"] == []
    assert good["misrounded"] == 0
    assert good["batch_invariant"] is True
    bad = answer("check", "kernels_of_mine:bad", "--against", "softmax", "--dtype", "float16", code=1)
    assert bad["max_ulp"] is None  # infinite: an overflow where a number is right
    assert {f["case"] for f in bad["failures"]} >= {"shifted 5x128"}


def test_faults():
    """All of them are in tests/ops/test_trial.py."""
    found = answer("faults", "--against", "log_softmax")
    assert found["share"] == 1.0
    assert found["found"] == len(found["faults"]) >= 6
    assert set(found["faults"][0]) == {"op", "name", "mistake", "found_by", "case"}
    assert "6 of 6 found: 100%" in run("faults", "--against", "log_softmax").stdout


def test_a_fault_that_passes_is_exit_code_1(monkeypatch):
    from stable_ops import silu
    from stable_ops.testing import faults

    monkeypatch.setattr(faults.registry, "FAULTS", [])
    monkeypatch.setattr(faults, "FAULTS", [faults.Fault("silu", "none", "no mistake at all", silu)])
    missed = answer("faults", code=1)
    assert (missed["share"], missed["faults"][0]["found_by"]) == (0.0, None)


def test_check_takes_samplers(tmp_path, monkeypatch):
    (tmp_path / "samplers_of_mine.py").write_text(
        "import numpy as np\ndef greedy(logits, k, p, seeds):\n    return logits.argmax(axis=-1)\n"
    )
    monkeypatch.chdir(tmp_path)
    assert answer("check", "stable_ops:nucleus", "--against", "nucleus")["failures"] == []
    wrong = answer("check", "samplers_of_mine:greedy", "--against", "sample", code=1)
    assert {f["sort"] for f in wrong["failures"]} == {"distribution"}


SUBJECT = """
import torch
def example():
    return torch.nn.Softmax(dim=-1), torch.full((4, 64), %s) + torch.arange(64.0)
def narrow():
    return torch.nn.Softmax(dim=-1), torch.zeros(4, dtype=torch.float16)
"""


def test_audit(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    (tmp_path / "subject_of_mine.py").write_text(SUBJECT % "60000.0")
    monkeypatch.chdir(tmp_path)
    found = answer("audit", "subject_of_mine:example", "--max-hazards", "0", code=1)
    assert found["formats"] == ["fp16", "bf16"]
    assert found["operations"] == 1
    assert set(found["hazards"][0]) >= {"where", "op", "kind", "bits_lost", "fix", "tensor", "safe_dtype"}
    # ulp(60000) is 32 in fp16 and 256 in bf16, the logits are one apart.
    assert {("softmax", "cancellation", f) for f in ("fp16", "bf16")} <= {
        (h["op"], h["kind"], h["format"]) for h in found["hazards"]
    }
    shown = run("audit", "subject_of_mine:example")
    assert shown.exit_code == 0
    assert "on these inputs" in shown.stdout
    (tmp_path / "subject_of_zero.py").write_text(SUBJECT % "0.0")
    assert run("audit", "subject_of_zero:narrow").exit_code == 2
    assert run("audit", "subject_of_zero:example", "--format", "fp64").exit_code == 2
    assert run("audit", "subject_of_zero:example", "--accumulator", "int8").exit_code == 2


BAD_INPUT = [
    ("format fp17", "fp17"),
    ("accumulate --order random", "random"),
    ("accumulate --value nan", "finite"),
    ("accumulate --format fp4_e2m1 --value inf", "finite"),
    ("accumulate --count 99999999999", "--count"),
    ("qr --condition 1e99", "condition"),
    ("qr --condition nan", "condition"),
    ("qr --dtype int8", "int8"),
    ("qr --rows 3", "columns"),
    ("check no_such_module:f --against softmax", "no_such_module"),
    ("check math:nothing --against softmax", "nothing"),
    ("check math --against softmax", "module:function"),
    ("check math:exp --against attention", "attention"),
    ("check math:exp --against softmax --dtype int8", "int8"),
    ("check math:exp --against softmax --library jax", "jax"),
    ("check math:exp --against softmax --device cuda", "torch"),
    ("check math:exp --against softmax --library torch --device abacus", "abacus"),
    ("faults --against attention", "attention"),
    ("audit", "SUBJECT"),
    ("audit math", "module:function"),
    ("audit no_such_module:f", "no_such_module"),
    ("audit math:exp", "must return"),
    ("audit os:getcwd", "must return"),
]


@pytest.mark.parametrize(("line", "message"), BAD_INPUT)
def test_bad_input_is_one_line_and_code_2(line, message, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out.json"
    monkeypatch.setattr(sys, "argv", ["stable-ops", *line.split(), "--output", str(out)])
    with pytest.raises(SystemExit) as end:
        main()
    printed = capsys.readouterr()
    assert end.value.code == 2
    assert message in printed.err
    assert printed.out == ""
    assert len(printed.err.strip().splitlines()) == 1
    assert not out.exists()


def test_help_loads_neither_torch_nor_scipy():
    code = (
        "import sys\n"
        "from stable_ops.cli import main\n"
        "sys.argv = ['stable-ops', 'accumulate', '--help']\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as end:\n"
        "    assert not end.code\n"
        "assert not {'torch', 'scipy', 'hypothesis', 'matplotlib', 'triton'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Example" in done.stdout
