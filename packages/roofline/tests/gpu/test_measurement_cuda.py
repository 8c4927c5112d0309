"""A CUDA device's ceilings: kernels do the work that is counted, and agree with torch's own."""

import pytest

torch = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

from roofline import measure  # noqa: E402
from roofline.cuda_streams import _BLOCK, kernels  # noqa: E402

pytestmark = pytest.mark.gpu
BLOCKS, PROGRAMS = 70, 12


@pytest.fixture
def arrays():
    torch.manual_seed(0)
    return [torch.randn(BLOCKS * _BLOCK, device="cuda") for _ in range(2)]


def run(name: str, x, y, passes: int) -> None:
    kernels()[name][(PROGRAMS,)](x, y, BLOCKS, passes, SIZE=_BLOCK, num_warps=4)


def test_copy_copies_everything(arrays) -> None:
    x, y = arrays
    run("copy", x, y, 3)
    assert torch.equal(x, y)


def test_add_adds_once_a_pass(arrays) -> None:
    x, y = arrays
    before = y.clone()
    run("add", x, y, 2)
    assert torch.equal(y, before + x + x)


def test_read_sums_everything_once_a_pass(arrays) -> None:
    x, y = arrays
    run("read", x, y, 3)
    total = y[: PROGRAMS * _BLOCK].double().sum()
    assert abs(float(total - 3 * x.double().sum())) < 1e-2


def test_write_reaches_every_block(arrays) -> None:
    x, y = arrays
    y.fill_(float("nan"))
    run("write", x, y, 2)
    assert not bool(y.isnan().any())


def test_measured_ceilings_agree_with_torch() -> None:
    found = measure(device="cuda", seconds=1)
    x = torch.randn(1 << 29, device="cuda")
    y = torch.empty_like(x)
    y.copy_(x)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(5):
        y.copy_(x)
    end.record()
    end.synchronize()
    copied = 5 * 2 * x.nbytes / (start.elapsed_time(end) * 1e-3)
    assert 0.9 < found.bandwidth_bytes_per_s / copied < 1.15
    assert found.levels["l2"] > found.bandwidth_bytes_per_s
    assert {"fp16", "bf16", "fp32"} <= set(found.peaks)
    assert found.sweep[0]["read_bytes_per_s"] > 1.3 * found.sweep[-1]["read_bytes_per_s"]
