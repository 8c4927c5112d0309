"""The sampling kernels on a GPU: the tokens of the definition on the CPU, and their distribution."""

import numpy as np
import pytest

import stable_ops

torch = pytest.importorskip("torch")
pytest.importorskip("triton")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

from stable_ops.ops.triton import sampling  # noqa: E402
from stable_ops.ops.triton.sampling_whole import DONE, PENDING, UNDECIDED  # noqa: E402

KINDS = ("normal", "ties", "equal", "masked", "peak", "huge")
OPTIONS = {
    "all": {},
    "top-p": {"top_p": 0.9},
    "top-p near 1": {"top_p": 0.999, "temperature": 1.3},
    "top-k": {"top_k": 50},
    "min-p": {"min_p": 0.05},
    "all three": {"top_k": 20, "top_p": 0.8, "min_p": 0.02},
    "greedy": {"temperature": 0},
    "one token": {"top_p": 0.0},
}


def logits(kind, count, n, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, n, generator=generator) * {"flat": 1.0, "steep": 8.0, "huge": 1e37}.get(kind, 3.0)
    if kind == "ties":
        return (4 * x).round() / 4
    if kind == "equal":
        return torch.full_like(x, -2.5)
    if kind == "masked":
        hidden = torch.rand(count, n, generator=generator) < 0.7
        hidden[:, n // 3] = False
        return x.masked_fill(hidden, -torch.inf)
    if kind == "peak":
        x[:, n // 2] = 40.0
    return x


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [7, 20_001])
def test_tokens_are_those_of_the_cpu(n, kind, options):
    x = logits(kind, 4, n)
    tokens = stable_ops.sample(x.cuda(), **options, seed=3, offset=11)
    assert tokens.is_cuda
    assert tokens.tolist() == stable_ops.sample(x, **options, seed=3, offset=11).tolist()


@pytest.mark.parametrize(
    ("n", "dtype"), [(128_256, torch.float32), (262_144, torch.float32), (128_256, torch.bfloat16)]
)
def test_tokens_of_a_vocabulary(n, dtype):
    """A seed, a share and a temperature of its own for each row."""
    x = torch.cat([logits(kind, 3, n) for kind in ("normal", "flat", "steep", "peak")]).to(dtype)
    rng = np.random.default_rng(1)
    options = {
        "top_p": rng.choice([0.3, 0.9, 0.99, 1.0], 12),
        "temperature": rng.choice([0.0, 0.7, 1.0, 1.5], 12),
        "seed": rng.integers(0, 2**62, 12),
    }
    assert stable_ops.sample(x.cuda(), **options).tolist() == stable_ops.sample(x, **options).tolist()


def test_a_row_answers_alike_wherever_it_stands():
    x = logits("normal", 300, 128_256).cuda()
    seeds = torch.arange(300, device="cuda") * 7919
    options = {"top_p": 0.95, "check": False}
    tokens = stable_ops.sample(x, seed=seeds, **options)
    order = torch.randperm(300, device="cuda")
    assert torch.equal(stable_ops.sample(x[order], seed=seeds[order], **options), tokens[order])
    few = slice(17, 20)
    assert torch.equal(stable_ops.sample(x[few], seed=seeds[few], **options), tokens[few])
    assert torch.equal(stable_ops.sample(x, seed=seeds, **options), tokens)


def g_test(drawn, weights):
    chi2 = pytest.importorskip("scipy.stats").chi2
    counts = np.bincount(drawn.cpu().numpy(), minlength=weights.size)
    assert counts[weights == 0].sum() == 0
    expected = weights / weights.sum() * counts.sum()
    seen = counts > 0
    statistic = 2 * np.sum(counts[seen] * np.log(counts[seen] / expected[seen]))
    return float(chi2.sf(statistic, (weights > 0).sum() - 1))


@pytest.mark.parametrize("n", [50, 20_000])
def test_a_million_draws_follow_the_kept_distribution(n):
    x = torch.full((n,), -30.0)
    x[:: n // 50] = logits("flat", 1, 50, seed=4)[0][: len(x[:: n // 50])]
    weights = np.exp(x.double().numpy())
    order = np.argsort(-weights, kind="stable")
    held = np.cumsum(weights[order]) - weights[order] < 0.9 * weights.sum()
    weights[order[~held]] = 0
    draws = 1_000_000 if n == 50 else 100_000
    assert g_test(stable_ops.sample(x.cuda(), top_p=0.9, seed=5, size=draws), weights) > 1e-6
    rows = x.cuda().expand(draws // 10, n)
    seeds = torch.arange(len(rows), device="cuda")
    assert g_test(stable_ops.sample(rows, top_p=0.9, seed=seeds, check=False), weights) > 1e-6


def test_bad_rows_are_named_and_cost_nobody_else():
    for n in (100, 128_256):
        x = logits("normal", 5, n)
        x[3, n // 2] = torch.nan
        with pytest.raises(ValueError, match="row 3 of the logits holds NaN"):
            stable_ops.sample(x.cuda(), top_p=0.9)
        x[4] = -torch.inf
        x[1, 0] = torch.inf
        tokens = stable_ops.sample(x.cuda(), top_p=0.9, check=False).tolist()
        torch.cuda.synchronize()
        assert [tokens[i] for i in (1, 3, 4)] == [-1, -1, -1]
        good = stable_ops.sample(x[:1], top_p=0.9).tolist()
        assert tokens[0] == good[0]


def test_the_lists_answer_and_seldom_leave_a_row(monkeypatch):
    """What was left: rows for one program each, and rows for the CPU."""
    left = []
    share = sampling._share_rows
    monkeypatch.setattr(
        sampling, "_share_rows", lambda task, sizes: (share(task, sizes), left.append(task.status.clone()))
    )
    for kind in ("normal", "flat", "steep", "peak"):
        x = logits(kind, 256, 128_256).cuda()
        stable_ops.sample(x, top_p=0.9, check=False)
    status = torch.cat(left)
    assert (status == UNDECIDED.value).sum() == 0
    assert (status == PENDING.value).float().mean() < 0.02
    assert (status == DONE.value).float().mean() > 0.98


def test_a_graph_can_hold_it():
    x = logits("normal", 8, 128_256).cuda()
    packed = sampling._pack((8,), dict.fromkeys(("top_k", "min_p")) | {
        "temperature": 1.0, "top_p": 0.9, "seed": 1, "offset": 0
    }, x.device, False)[1]  # fmt: skip
    expected, _ = sampling.launch(x, packed, own_stream=False, filtered=False)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        tokens, _ = sampling.launch(x, packed, own_stream=False, filtered=False)
    graph.replay()
    assert torch.equal(tokens, expected)
