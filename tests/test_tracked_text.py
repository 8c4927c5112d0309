"""Nothing that is committed depends on the machine it was written on."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# None of these expressions matches its own text.
FORBIDDEN = {
    "a home or build directory": re.compile(r"/(?:root|home/\w+|work|Users/\w+)/"),
    "a package index": re.compile(r"(?:pypi\.org|pythonhosted\.org|registry\.npmjs|deb\.debian\.org)"),
}
GENERATED = {"uv.lock"}


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name and name not in GENERATED]


def test_no_machine_and_no_index_is_named():
    found = []
    for path in tracked():
        if not path.is_file():
            continue
        data = path.read_bytes()
        if b"\0" in data[:4096]:
            continue
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
            found += [
                f"{path.relative_to(ROOT)}:{number}: {what}"
                for what, form in FORBIDDEN.items()
                if form.search(line)
            ]
    assert not found, "\n".join(found)


def test_the_check_sees_what_it_looks_for():
    assert FORBIDDEN["a home or build directory"].search("see /ro" + "ot/.cache")
    assert FORBIDDEN["a package index"].search("from https://py" + "pi.org/simple")
    assert not FORBIDDEN["a home or build directory"].search("packages/framework/src and /workers/")


def test_no_large_file():
    """Weights of the bundled model aside, a repository is text."""
    allowed = 16 * 2**20 + 2**20
    for path in tracked():
        if path.is_file():
            limit = allowed if path.suffix == ".safetensors" else 2 * 2**20
            assert path.stat().st_size <= limit, path.relative_to(ROOT)
