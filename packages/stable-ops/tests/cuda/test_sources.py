"""The sources in CUDA C++ compile, where NVIDIA's run-time compiler is."""

import itertools

import pytest

pytest.importorskip("torch")
pytest.importorskip("triton")

from stable_ops.ops.cuda import nvrtc, rows

pytestmark = pytest.mark.skipif(nvrtc.library() is None, reason="needs NVIDIA's run-time compiler")
CONSTANTS = {"THREADS": 256, "TEAMS": 1, "RESIDENT": 1, "STREAMED": 1}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


def test_softmax():
    code = nvrtc.compiled(rows.source("softmax", CONSTANTS), "softmax", "sm_90")
    assert code.startswith(b"\x7fELF")
    assert b"softmax" in code


def test_norms():
    on, off = dict.fromkeys(("BF16", "CENTRE", "SCALE", "SHIFT", "WIDE"), 1), {"TWICE": 0, "OFFSET": 0}
    source = rows.source("norms", CONSTANTS | on | off)
    assert nvrtc.compiled(source, "norms", "sm_90").startswith(b"\x7fELF")


def test_what_was_compiled_is_kept(monkeypatch):
    source = 'extern "C" __global__ void kept(int* x) { *x = 7; }'
    first = nvrtc.compiled(source, "kept", "sm_90")
    monkeypatch.setattr(nvrtc, "_compile", itertools.repeat)
    assert nvrtc.compiled(source, "kept", "sm_90") == first


def test_an_error_is_told():
    with pytest.raises(RuntimeError, match="no_such_name"):
        nvrtc.compiled("__global__ void f() { no_such_name(); }", "f", "sm_90")
