"""`scan` killed and called again: what was finished is not done again, the facts are those of one process."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.numpy import save_file

from quant_risk_analyzer.weights.scan import scan

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="kills a process group"),
]
MATRICES = 24
CODE = (
    "import sys, json\n"
    "from quant_risk_analyzer.weights.scan import scan\n"
    "if __name__ == '__main__':\n"
    "    found = scan(sys.argv[1], executor=sys.argv[3], workers=2, resume=sys.argv[2])\n"
    "    print(json.dumps(found.to_dict()))\n"
)


@pytest.fixture
def model(tmp_path):
    generator = np.random.default_rng(0)
    folder = tmp_path / "model"
    folder.mkdir()
    tensors = {
        f"layers.{at}.weight": generator.standard_normal((1024, 1024)).astype(np.float32)
        for at in range(MATRICES)
    }
    save_file(tensors, folder / "model.safetensors")
    (tmp_path / "run.py").write_text(CODE)
    return folder


@pytest.mark.parametrize("executor", ["processes", "ray"])
def test_same_as_serial_and_resumed_after_a_kill(model, tmp_path, executor):
    if executor == "ray":
        pytest.importorskip("ray")
    kept = tmp_path / "kept"
    command = [sys.executable, tmp_path / "run.py", model, kept, executor]
    with (tmp_path / "log").open("w") as log:
        first = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 240
        while len(_finished(kept)) < 3 and first.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    done = {path: path.stat().st_mtime_ns for path in _finished(kept)}
    assert 3 <= len(done) < MATRICES, (tmp_path / "log").read_text()
    second = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert second.returncode == 0, second.stderr
    assert json.loads(second.stdout) == json.loads(json.dumps(scan(model).to_dict()))
    assert len(_finished(kept)) == MATRICES
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in done.items())


def _finished(folder):
    return [path for path in folder.glob("*.json") if not path.name.startswith(".")]
