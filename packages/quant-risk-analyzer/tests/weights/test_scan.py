"""The streamed tier: every parameter accounted for, one bad tensor no obstacle, resumable, small."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from mfi_command import BadInput
from quant_risk_analyzer.cli import app
from quant_risk_analyzer.weights.scan import scan


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.fixture
def model(tmp_path):
    """A fused layer, a stack of experts, a bad matrix, an empty and a packed one."""
    bad = random(8, 8, seed=1)
    bad[0, 0] = np.nan
    tensors = {
        "embed_tokens.weight": random(50, 16),
        "layers.0.qkv_proj.weight": random(32, 16),
        "layers.0.mlp.experts.down_proj": random(3, 16, 12),
        "layers.0.bad.weight": bad,
        "layers.0.empty.weight": np.zeros((0, 4), np.float32),
        "layers.0.packed.qweight": np.zeros((2, 8), np.int32),
        "norm.weight": random(16),
    }
    save_file(tensors, tmp_path / "model.safetensors")
    config = {"num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 16}
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


def test_every_parameter_is_accounted_for(model):
    found = scan(model, formats="int4,fp8")
    assert found.parameters == 800 + 512 + 576 + 64 + 0 + 16 + 16
    assert found.rated == 512 + 576
    assert (
        found.rated + sum(found.left_out.values()) + sum(e.parameters for e in found.invalid)
        == found.parameters
    )
    assert found.left_out == {
        "embedding": 800,
        "empty": 0,
        "already quantized: GPTQ or AWQ": 16,
        "vector": 16,
    }
    assert {each.name for each in found.matrices} == {
        "layers.0.bad",
        *(f"layers.0.mlp.experts.{number}.down_proj" for number in range(3)),
        *(f"layers.0.qkv_proj.{part}" for part in "qkv"),
    }
    assert {each.name for each in found.invalid} == {"layers.0.bad"}


def test_one_bad_tensor_gives_exit_code_one_and_the_rest_is_finished(model):
    result = CliRunner().invoke(app, ["scan", str(model), "--json"])
    assert result.exit_code == 1
    assert "layers.0.bad (1)" in result.stderr
    answer = json.loads(result.stdout)
    assert len(answer["layers"]) == 7
    numbers = [int(each) for each in re.findall(r"(\d+) (?!of)", answer["account"])]
    assert sum(numbers[1:]) + answer["rated"] == answer["parameters"]


def test_processes_give_the_facts_of_one_process(model):
    code = (
        "import sys, json\n"
        "from quant_risk_analyzer.weights.scan import scan\n"
        "if __name__ == '__main__':\n"
        "    print(json.dumps(scan(sys.argv[1], executor=sys.argv[2], workers=2).to_dict()))\n"
    )
    script = model / "run.py"
    script.write_text(code)
    answers = [
        subprocess.run([sys.executable, script, model, executor], capture_output=True, text=True)
        for executor in ("serial", "processes")
    ]
    assert answers[0].returncode == 0, answers[0].stderr
    assert answers[0].stdout == answers[1].stdout, answers[1].stderr


def test_a_second_call_resumes(model, tmp_path):
    kept = tmp_path / "kept"
    first = scan(model, layers="*qkv*", resume=kept)
    files = sorted(kept.iterdir())
    assert len(files) == 1
    altered = json.loads(files[0].read_text())
    altered[0]["kurtosis"] = 42.0
    files[0].write_text(json.dumps(altered))
    assert scan(model, layers="*qkv*", resume=kept).matrices[0].kurtosis == 42.0
    assert scan(model, layers="*qkv*", formats="int3", resume=kept).matrices[0].kurtosis == pytest.approx(
        first.matrices[0].kurtosis
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"layers": "nothing"}, "no matrix"),
        ({"formats": "int44"}, "did you mean int4"),
        ({"granularity": "row"}, "granularity 'row'"),
        ({"executor": "threads"}, "executor is 'threads'"),
    ],
)
def test_bad_input(model, options, says):
    with pytest.raises(BadInput, match=says):
        scan(model, **options)


def test_memory_stays_near_the_largest_tensor(tmp_path):
    """Peak of a fresh process beyond its start: 3 x the largest tensor in float32 + 300 MB is the promise."""
    rows, columns = 8192, 1024
    save_file({"big.weight": random(rows, columns)}, tmp_path / "model.safetensors")
    code = (
        "import resource, sys\n"
        "from quant_risk_analyzer.weights.scan import scan\n"
        "scan('reference', layers='*.0.*k_proj')\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "scan(sys.argv[1])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    found = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert int(found.stdout) * 1024 < 3 * rows * columns * 4
