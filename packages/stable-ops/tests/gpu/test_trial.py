"""The trial of `stable-ops check --device cuda`: batches of 1 to 2048 rows, memory layouts, samplers."""

import pytest

import stable_ops
from stable_ops.testing import check
from stable_ops.testing.oracles import ORACLES, ours

torch = pytest.importorskip("torch")
pytest.importorskip("triton")
pytest.importorskip("flint")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

from stable_ops.ops.triton.tiers import LIMIT_ULP, tier  # noqa: E402

DTYPES = ("float16", "bfloat16", "float32")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ORACLES)
def test_ours(op, dtype):
    label = tier(ORACLES[op].operator or op, dtype)
    limit = LIMIT_ULP[label]
    report = check(ours(op), against=op, dtypes=[dtype], max_ulp=limit, library="torch", device="cuda")
    assert report.failures == ()
    assert report.unsettled == 0
    if label == "T1" and dtype != "float32":
        assert report.misrounded == 0


def test_the_sampler():
    def sample(logits, k, p, seeds):
        return stable_ops.sample(logits, top_k=k, top_p=p, seed=seeds)

    report = check(sample, against="sample", library="torch", device="cuda")
    assert report.failures == ()


def test_torchs_softmax_on_the_device_is_measured():
    """Somebody else's kernel: the trial gives its numbers."""
    report = check(
        torch.softmax, against="softmax", dtypes=["bfloat16"], library="torch", device="cuda", max_ulp=0.51
    )
    assert report.max_ulp > 0.49
    assert report.outputs > 500_000


def _switches_at(rows):
    def softmax(x):
        weights = (x.float() - x.float().amax(-1, keepdim=True)).exp()
        total = weights.sum(-1, keepdim=True)
        if x.shape[0] > rows:
            total = total.to(x.dtype).float()
        return (weights / total).to(x.dtype)

    return softmax


@pytest.mark.parametrize("rows", [128, 256, 512, 1024])
def test_another_block_size_from_some_batch_on_is_found(rows):
    report = check(
        _switches_at(rows), against="softmax", dtypes=["float16"], library="torch", device="cuda", max_ulp=9e9
    )
    assert not report.batch_invariant
