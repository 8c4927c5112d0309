"""The committed hashes: this machine's bits are theirs, and those of the GPUs that were measured too."""

import importlib.util
import json
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
RESULTS = sorted((BENCHMARKS / "results").glob("bits*.json"))
pytestmark = pytest.mark.skipif(not RESULTS, reason="the results are not beside the tests")


@pytest.fixture(scope="module")
def bits():
    pytest.importorskip("ml_dtypes")
    pytest.importorskip("torch")
    spec = importlib.util.spec_from_file_location("bits", BENCHMARKS / "bits.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def committed():
    return [json.loads(path.read_text(encoding="utf-8")) for path in RESULTS]


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_this_machine_gives_the_committed_bits(bits, backend):
    (file,) = (f for f in committed() if "numpy" in f["backends"])
    for name, entry in bits.cells(backend, lengths=(1, 7, 1000)):
        if "float32" not in name:  # exp of another libm may decide a float32 tie otherwise
            assert entry["sha256"] == file["backends"]["numpy"][name]["sha256"], name


def test_all_places_agree(bits):
    assert bits.compare(committed()) == []


def test_few_outputs_of_the_second_tier_differ():
    for file in committed():
        for found in file["backends"].values():
            outputs, differing = (sum(e[key] for e in found.values()) for key in ("outputs", "differing"))
            assert outputs > 10**7
            assert differing < outputs / 1000


def test_a_changed_bit_is_seen(bits):
    import copy

    files = committed()
    changed = copy.deepcopy(files[0])
    changed["device"] = "another"
    changed["backends"] = {"cuda": next(iter(changed["backends"].values()))}
    changed["backends"]["cuda"]["silu bfloat16 1000"]["sha256"] = "0"
    assert any("silu bfloat16 1000" in line for line in bits.compare([*files, changed]))
