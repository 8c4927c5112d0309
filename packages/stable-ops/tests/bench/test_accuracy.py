"""The GPU's judge of errors against the one of the test suite, on the CPU."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from stable_ops.bench import accuracy  # noqa: E402
from stable_ops.bench.cases import ELEMENTWISE, ROW_OPS  # noqa: E402
from stable_ops.bench.peers import Variant, torch_functions  # noqa: E402
from stable_ops.testing import (  # noqa: E402
    error_ulp,
    misrounded,
    oracles,
)

DTYPES = ("float32", "float16", "bfloat16")


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setattr(accuracy, "DEVICE", "cpu")


@pytest.mark.parametrize("dtype", DTYPES)
def test_errors_are_those_of_the_test_suite(dtype):
    rng = np.random.default_rng(0)
    exact = rng.standard_normal(20_000) * 2.0 ** rng.integers(-30, 16, 20_000)
    exact[:6] = [0.0, np.nan, np.inf, -np.inf, 1e39, -1e39]
    y = torch.tensor(exact).to(getattr(torch, dtype))
    y[6:1000] = y[6:1000] * (1 + 2 * torch.finfo(y.dtype).eps)
    y[1000:1003] = torch.tensor([torch.inf, torch.nan, 0.0], dtype=y.dtype)
    ulp, wrong, _ = accuracy.errors(y, torch.tensor(exact), dtype)
    np.testing.assert_allclose(ulp.numpy(), error_ulp(y, exact), rtol=1e-9, atol=1e-9)
    assert np.array_equal(wrong.numpy(), misrounded(y, exact))
    floored, _, _ = accuracy.errors(y, torch.tensor(exact), dtype, floor=1.0)
    np.testing.assert_allclose(floored.numpy(), error_ulp(y, exact, floor=1.0), rtol=1e-9, atol=1e-9)


def test_what_is_near_a_tie():
    exact = torch.tensor([1 + 2.0**-8, 1 + 2.0**-8 + 2.0**-17, 1 + 2.0**-8 + 2.0**-14, 1.0, 2.0**-140])
    _, _, near = accuracy.errors(exact.bfloat16(), exact.double(), "bfloat16")
    assert near.tolist() == [True, True, False, False, False]


@pytest.mark.parametrize("op", ROW_OPS + ELEMENTWISE)
@pytest.mark.parametrize("kind", accuracy.KINDS)
def test_truth_is_the_oracles(op, kind):
    draw = accuracy._drawer("float32", 3)
    operands = accuracy.operands_of(op, draw, 32, 257, kind)
    expected = oracles.truth(op, *(x.numpy() for x in operands)).astype(np.float64)
    found = accuracy.truth(op, *operands).numpy()
    scale = np.maximum(np.abs(expected), oracles.ORACLES[op].floor)
    assert np.max(np.abs(found - expected) / np.where(scale, scale, 1)) < 1e-12


def test_a_faithful_kernel_and_a_rough_one():
    exact = Variant("exact", lambda x: accuracy.truth("softmax", x).float().bfloat16())
    rough = Variant("rough", lambda x: (accuracy.truth("softmax", x) * (1 + 2.0**-9)).bfloat16())
    for row in accuracy.accuracy(exact, "softmax", "bfloat16", length=1000, elements=2**15):
        assert row.max_ulp <= 0.51
        assert row.misrounded < row.outputs / 1000
    for row in accuracy.accuracy(rough, "softmax", "bfloat16", length=1000, elements=2**15):
        assert row.misrounded > row.outputs / 10


def test_every_16_bit_number_is_tried():
    rows = list(
        accuracy.accuracy(
            Variant("torch", torch.nn.functional.gelu), "gelu", "float16", length=4096, elements=2**12
        )
    )
    assert [row.kind for row in rows] == ["normal", "scale 10", "every 16-bit number"]
    assert rows[-1].outputs == 2**16
    assert rows[-1].max_ulp == np.inf  # torch answers NaN at -inf


def test_a_block_switch_is_found():
    def switches(x):
        pieces = 1 if x.shape[0] < 256 else 8
        return torch.stack([part.exp().sum(-1) for part in x.chunk(pieces, -1)]).sum(0).log()

    same = accuracy.invariance(Variant("same", torch_functions()["gelu"]), "gelu", "float32", length=64)
    assert (same.differing, same.outputs_differing) == ((), 0)
    found = accuracy.invariance(Variant("switches", switches), "logsumexp", "float32", length=4096)
    assert found.differing == tuple(n for n in accuracy.BATCHES if n < 256)
    assert found.outputs_differing > 0
