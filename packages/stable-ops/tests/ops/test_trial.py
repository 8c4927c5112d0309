"""Every operator passes the trial at correct rounding; every planted fault fails the same trial."""

import pytest

import stable_ops
from stable_ops.testing import check, faults
from stable_ops.testing.oracles import ORACLES, ours
from stable_ops.testing.samplers import SAMPLERS

DTYPES = ("float16", "bfloat16", "float32")


@pytest.mark.parametrize("op", ORACLES)
def test_ours_is_correctly_rounded(op):
    """With numpy arrays and torch tensors in turn, so that the oracle works once."""
    pytest.importorskip("ml_dtypes")
    pytest.importorskip("flint")
    for library in ("numpy", "torch"):
        if library == "torch":
            pytest.importorskip("torch")
        report = check(ours(op), against=op, dtypes=DTYPES, max_ulp=0.5, library=library)
        assert report.failures == (), library
        assert (report.misrounded, report.unsettled) == (0, 0), library
        assert report.outputs > 5_000


def test_the_nucleus_is_exact():
    report = check(stable_ops.nucleus, against="nucleus")
    assert report.failures == ()
    assert report.outputs > 100_000


def test_the_sampler_draws_from_the_exact_set_by_the_seed_of_the_row():
    def sample(logits, k, p, seeds):
        return stable_ops.sample(logits, top_k=k, top_p=p, seed=seeds)

    assert check(sample, against="sample").failures == ()


@pytest.mark.parametrize("fault", faults.FAULTS, ids=lambda f: f"{f.op}-{f.name}")
def test_the_fault_is_found(fault):
    report = check(fault.function, against=fault.op, max_ulp=0.5, max_failures=1)
    assert report.failures, fault.mistake


def test_there_are_faults_for_every_operator():
    assert {f.op for f in faults.FAULTS} == set(ORACLES) | set(SAMPLERS)
    assert len(faults.FAULTS) >= 100
    assert len({(f.op, f.name) for f in faults.FAULTS}) == len(faults.FAULTS)
