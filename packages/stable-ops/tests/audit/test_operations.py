"""A second set of hazards and of clean modules: operations of real models, each true by execution."""

import importlib.util
import sys
from pathlib import Path

import pytest

pytest.importorskip("ml_dtypes")
torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

from stable_ops.audit import audit  # noqa: E402

_spec = importlib.util.spec_from_file_location("planted", Path(__file__).parent / "planted.py")
planted = importlib.util.module_from_spec(_spec)
sys.modules["planted"] = planted  # dataclasses look their module up by name
_spec.loader.exec_module(planted)
n = planted.normal

HAZARDS = [
    ("overflow", "fp16", lambda t: t @ t.transpose(-1, -2), n(2, 16, 32, scale=300)),
    ("overflow", "fp16", lambda t: (t**2).mean(-1), n(16, 32, scale=500)),
    ("overflow", "fp16", lambda t: t.pow(3), n(16, 32, scale=60)),
    ("overflow", "fp16", torch.sinh, n(16, 32, scale=8)),
    ("overflow", "fp16", lambda t: t.cumprod(-1), n(16, 32, mean=2, scale=0.1)),
    ("overflow", "fp16", lambda t: 1 / (t - t.round() + 1e-6 * t).abs(), n(16, 32, scale=1e-3)),
    ("overflow", "fp16", lambda t: F.conv2d(t, 1e3 * torch.ones(4, 3, 3, 3).to(t)), n(2, 3, 9, 9, scale=20)),
    ("overflow", "fp8_e4m3fn", lambda t: t * t, n(16, 32, scale=20)),
    ("overflow", "fp16", lambda t: t.exp().sum(-1).log(), n(16, 32, mean=12)),
    ("overflow", "fp16", lambda t: torch.logsumexp(t * 1e4, -1), n(16, 32, scale=10)),
    ("overflow", "fp16", lambda t: torch.softmax(t * t, -1), n(16, 32, scale=300)),
    ("underflow", "fp16", lambda t: torch.exp(-(t**2)), n(16, 64, scale=6)),
    ("underflow", "fp16", torch.sigmoid, n(16, 64, mean=-20)),
    ("underflow", "fp16", lambda t: t * 1e-6 * t, n(16, 64)),
    ("underflow", "fp16", lambda t: (t * 100).softmax(-1), n(16, 64)),
    ("underflow", "fp8_e4m3fn", lambda t: t.softmax(-1), n(16, 256)),
    ("underflow", "fp8_e5m2", lambda t: t.softmax(-1) ** 2, n(16, 256)),
    ("underflow", "fp16", lambda t: t.cumprod(-1), n(16, 64, mean=0.5, scale=0.1)),
    ("underflow", "fp16", F.gelu, n(16, 64, mean=-5.5, scale=0.3)),
    ("cancellation", "fp16", lambda t: t.logsumexp(-1) - t.max(-1).values, n(64, 4, scale=300)),
    ("cancellation", "fp16", lambda t: t.sin() ** 2 - 1 + t.cos() ** 2 * 0.99999, n(16, 64)),
    ("cancellation", "bf16", lambda t: t.diff(dim=-1), n(16, 64, mean=100, scale=0.1)),
    ("cancellation", "bf16", lambda t: t - t.mean(-1, keepdim=True), n(16, 64, mean=300)),
    ("cancellation", "fp16", F.instance_norm, n(2, 3, 16, 16, mean=4000)),
    ("cancellation", "fp16", lambda t: F.batch_norm(t, None, None, training=True), n(64, 8, mean=4000)),
    (
        "cancellation",
        "bf16",
        lambda t: F.batch_norm(t, torch.full((8,), 500.0).to(t), torch.ones(8).to(t)),
        n(64, 8, mean=500),
    ),
    ("cancellation", "fp16", lambda t: F.group_norm(t, 2), n(64, 8, mean=4000)),
    # The spread of the whole row hides what each group loses.
    (
        "cancellation",
        "fp16",
        lambda t: F.group_norm(t, 2),
        torch.cat([n(64, 4, mean=4000), n(64, 4, mean=-4000, seed=1)], dim=1),
    ),
    ("cancellation", "bf16", lambda t: t.std(-1), n(64, 32, mean=1000, scale=0.3)),
    ("cancellation", "bf16", lambda t: t.log_softmax(-1), n(64, 32, mean=1000)),
    ("cancellation", "bf16", lambda t: F.cosine_similarity(t - 999, t.flip(0) - 999), n(64, 32, mean=999)),
    ("cancellation", "bf16", torch.log, n(64, 32, mean=1, scale=1e-3)),
    ("cancellation", "bf16", lambda t: torch.var_mean(t, -1)[0], n(64, 32, mean=1000, scale=0.3)),
    ("cancellation", "bf16", lambda t: t.cumsum(-1).diff(dim=-1), n(16, 2048, mean=4)),
    ("absorption", "bf16", lambda t, u: t + u, (n(64, 32, mean=1000), n(64, 32, scale=0.5, seed=2))),
    ("absorption", "fp16", lambda t, u: torch.add(t, u, alpha=1e-4), (n(64, 32, mean=10), n(64, 32, seed=2))),
    ("absorption", "bf16", lambda t, u: t - 1e-3 * u, (n(64, 32), n(64, 32, seed=2))),
    ("absorption", "bf16", lambda t, u: torch.lerp(t, u, 1e-3), (n(64, 32), n(64, 32, scale=0.1, seed=2))),
    ("absorption", "bf16", lambda t, u: t.addcmul(u, u, value=1e-4), (n(64, 32), n(64, 32, seed=2))),
    ("absorption", "bf16", lambda t, u: t.addcdiv(u, u + 9, value=1e-3), (n(64, 32), n(64, 32, seed=2))),
]  # fmt: skip


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolutions = nn.ModuleList([nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)])
        self.norms = nn.ModuleList([nn.BatchNorm2d(8), nn.BatchNorm2d(8)])
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        h = self.norms[0](self.convolutions[0](x)).relu()
        h = h + self.norms[1](self.convolutions[1](h)).relu()
        return self.head(F.max_pool2d(h, 2).mean((2, 3)))


class Recurrent(nn.Module):
    def __init__(self, kind) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.cells = kind(32, 16, batch_first=True)

    def forward(self, x):
        return self.cells(x)[0]


def rotate(x):
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[-2])[:, None] * 1e4 ** (-torch.arange(half) / half)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


def biased_attention(x):
    distance = (torch.arange(x.shape[1])[:, None] - torch.arange(x.shape[1])).abs().to(x.dtype)
    return (x @ x.transpose(-1, -2) / x.shape[-1] ** 0.5 - 0.1 * distance).softmax(-1) @ x


def encoder():
    torch.manual_seed(0)
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 2).eval()


ROWS, BATCH, IMAGE = n(16, 32, seed=7), n(2, 16, 32, seed=8), n(2, 3, 16, 16, seed=9)
CLEAN = {
    "residual network": (Residual().eval(), IMAGE),
    "lstm": (Recurrent(nn.LSTM), BATCH),
    "gru": (Recurrent(nn.GRU), BATCH),
    "rotary positions": (rotate, BATCH),
    "attention with a bias": (biased_attention, BATCH),
    "encoder": (encoder(), BATCH),
    "cosine similarity": (lambda t: F.cosine_similarity(t[:8], t[8:], dim=-1), ROWS),
    "einsum": (lambda t: torch.einsum("bij,bkj->bik", t, t) / 32, BATCH),
    "cumsum": (lambda t: t.cumsum(-1), ROWS),
    "interpolate": (lambda t: F.interpolate(t, scale_factor=2, mode="bilinear", align_corners=False), IMAGE),
    "softplus": (F.softplus, ROWS),
    "mish": (F.mish, ROWS),
    "hardswish": (F.hardswish, ROWS),
    "instance norm": (nn.InstanceNorm2d(3), IMAGE),
    "average pool": (lambda t: F.avg_pool2d(t, 2), IMAGE),
    "cross entropy": (lambda t: F.cross_entropy(t, torch.arange(16)), ROWS),
    "squared error": (lambda t: ((t - t.flip(0)) ** 2).mean(), ROWS),
    "variance": (lambda t: t.var(-1), ROWS),
    "standard deviation": (lambda t: (t + 1).std(-1), ROWS),
    "log of sigmoid": (lambda t: torch.log(torch.sigmoid(t)), ROWS),
    "log1p": (lambda t: torch.log1p(t.abs()), ROWS),
    "quick gelu": (lambda t: t * torch.sigmoid(1.702 * t), ROWS),
    "tanh gelu": (lambda t: F.gelu(t, approximate="tanh"), ROWS),
    "glu": (F.glu, ROWS),
    "unit rows": (lambda t: t / t.norm(dim=-1, keepdim=True), ROWS),
    "range to one": (lambda t: (t - t.min()) / (t.max() - t.min()), ROWS),
    "gaussian": (lambda t: torch.exp(-0.5 * t**2), ROWS),
    "masked mean": (lambda t: (t * (t > 0)).sum(-1) / (t > 0).sum(-1), ROWS),
    "running average": (lambda t: torch.lerp(t, t.flip(0), 0.1), ROWS),
    "decay": (lambda t: torch.lerp(t, 1e-4 * t.flip(0), 0.1), ROWS),
}


def test_hazards(capsys):
    missed = []
    for i, (kind, format, function, drawn) in enumerate(HAZARDS):
        inputs = drawn if isinstance(drawn, tuple) else (drawn,)
        assert planted.shows(kind, function, inputs, format), (i, kind, format)
        found = audit(function, *(x.clone() for x in inputs), formats=[format]).hazards
        if kind not in {h.kind for h in found}:
            missed.append((i, kind, format))
    with capsys.disabled():
        print(f"\naudit: {len(HAZARDS) - len(missed)} of {len(HAZARDS)} hazards of the second set found")
    assert missed == []


def test_clean_modules(capsys):
    wrong = {}
    for name, (function, x) in CLEAN.items():
        for format in ("fp16", "bf16"):
            true, low = planted.exact(function, (x,)), planted.execute(function, (x,), format)
            assert float((low - true).norm() / true.norm()) < 2.0 ** (-planted.BITS[format] / 2), name
            if hazards := audit(function, x.clone(), formats=[format]).hazards:
                wrong[name, format] = hazards
    with capsys.disabled():
        print(f"\naudit: {len(wrong)} false alarms in {2 * len(CLEAN)} clean runs of the second set")
    assert wrong == {}
