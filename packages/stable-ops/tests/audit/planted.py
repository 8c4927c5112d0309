"""Functions with a planted hazard, clean modules, and the truth about both: running them in the format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

BITS = {"fp16": 11, "bf16": 8, "fp8_e4m3fn": 4, "fp8_e5m2": 3}
NATIVE = {"fp16": torch.float16, "bf16": torch.bfloat16}
STORED = {"fp8_e4m3fn": ml_dtypes.float8_e4m3fn, "fp8_e5m2": ml_dtypes.float8_e5m2}
NORMAL = {"fp16": 2.0**-14, "bf16": 2.0**-126, "fp8_e4m3fn": 2.0**-6, "fp8_e5m2": 2.0**-14}


def normal(*shape: int, scale: float = 1.0, mean: float = 0.0, seed: int = 0) -> torch.Tensor:
    return mean + scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Plant:
    kind: str
    op: str
    format: str
    function: Callable
    inputs: tuple[torch.Tensor, ...]

    def __str__(self) -> str:
        return f"{self.kind} {self.op} {self.format}"


def _store(x: torch.Tensor, format: str) -> torch.Tensor:
    with np.errstate(all="ignore"):
        return torch.from_numpy(x.detach().numpy().astype(STORED[format]).astype(np.float32))


class _EachRounded(TorchFunctionMode):
    """No processor adds in fp8: every call's result is rounded to it by ml_dtypes."""

    def __init__(self, format: str) -> None:
        super().__init__()
        self.format = format

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.is_floating_point():
            return _store(result, self.format)
        return result


def execute(function: Callable, inputs: tuple[torch.Tensor, ...], format: str) -> torch.Tensor:
    """The function's result with everything in the format."""
    with torch.no_grad():
        inputs = tuple(x.clone() for x in inputs)
        if format in NATIVE:
            if isinstance(function, nn.Module):
                function = _copy(function).to(NATIVE[format])
            return function(*(x.to(NATIVE[format]) for x in inputs)).double()
        if isinstance(function, nn.Module):
            function = _copy(function)
            for p in function.parameters():
                p.copy_(_store(p, format))
        with _EachRounded(format):
            return function(*(_store(x, format) for x in inputs)).double()


def exact(function: Callable, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
    with torch.no_grad():
        if isinstance(function, nn.Module):
            function = _copy(function).double()
        return function(*(x.double() for x in inputs))


def _copy(module: nn.Module) -> nn.Module:
    import copy

    return copy.deepcopy(module)


def shows(kind: str, function: Callable, inputs: tuple[torch.Tensor, ...], format: str) -> bool:
    """Whether the execution in the format shows a hazard of that kind, beside one in float64."""
    low, true = execute(function, inputs, format), exact(function, inputs)
    if kind == "overflow":
        return bool((~low.isfinite() & true.isfinite()).any())
    if kind == "underflow":
        there = low[true != 0].abs()
        return bool((there == 0).float().mean() >= 0.1 or (there < NORMAL[format]).float().mean() >= 0.5)
    if kind == "absorption":
        without = execute(function, (inputs[0], torch.zeros_like(inputs[1])), format)
        return bool((low == without)[inputs[1] != 0].float().mean() >= 0.25)
    error = ((low - true).abs() / true.abs())[(true != 0) & low.isfinite()]
    return bool((error >= 2.0 ** (-BITS[format] / 2)).float().mean() >= 1 / 3)


def _linear(inputs: int, outputs: int, scale: float = 1.0, seed: int = 0) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    with torch.no_grad():
        layer.weight.copy_(normal(outputs, inputs, scale=scale / inputs**0.5, seed=seed))
        layer.bias.zero_()
    return layer


class Residual(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.block = _linear(32, 32, scale)

    def forward(self, x, y):
        return x + self.block(y)


def _repeat(a, b):
    for _ in range(10):
        a = a + b
    return a


def _in_place(a, b):
    a = a.clone()
    a += b
    return a


def _center(x):
    return x - x.mean(dim=-1, keepdim=True)


def _short_variance(x):
    return (x * x).mean(dim=-1) - x.mean(dim=-1) ** 2


def _each(kind: str, op: str, function: Callable, **inputs) -> list[Plant]:
    return [Plant(kind, op, f, function, x if isinstance(x, tuple) else (x,)) for f, x in inputs.items()]


def plants() -> list[Plant]:
    n = normal
    near = {
        f: (n(64, 32, mean=1), n(64, 32, mean=1) + n(64, 32, scale=s, seed=1))
        for f, s in [("fp16", 1e-3), ("bf16", 1e-2), ("fp8_e4m3fn", 0.05), ("fp8_e5m2", 0.1)]
    }
    small = {
        "fp16": (n(64, 32, scale=1e3), n(64, 32, scale=0.05, seed=1)),
        "bf16": (n(64, 32, scale=1e3), n(64, 32, seed=1)),
        "fp8_e4m3fn": (n(64, 32, scale=40), n(64, 32, scale=0.5, seed=1)),
        "fp8_e5m2": (n(64, 32, scale=1e3), n(64, 32, scale=10, seed=1)),
    }
    shifted = {"fp16": n(64, 64, mean=1500), "bf16": n(64, 64, mean=200), "fp8_e4m3fn": n(64, 64, mean=60)}
    return [
        *_each("overflow", "mul", lambda x: x * x, fp16=n(8, 64, mean=300), fp8_e4m3fn=n(8, 64, mean=25),
               fp8_e5m2=n(8, 64, mean=300)),
        *_each("overflow", "pow", lambda x: x**2, fp16=n(8, 64, mean=300), fp8_e4m3fn=n(8, 64, mean=25),
               bf16=1e19 * n(8, 64, mean=30)),
        *_each("overflow", "exp", torch.exp, fp16=n(8, 64, mean=12), fp8_e4m3fn=n(8, 64, mean=7),
               fp8_e5m2=n(8, 64, mean=12)),
        *_each("overflow", "add", lambda x, y: x + y, fp16=(n(8, 8, mean=4e4), n(8, 8, mean=4e4)),
               fp8_e4m3fn=(n(8, 8, mean=300), n(8, 8, mean=300))),
        *_each("overflow", "addmm", _linear(64, 8), fp16=n(8, 64, scale=5e4).clamp(-6e4, 6e4),
               fp8_e4m3fn=n(8, 64, scale=400).clamp(-440, 440)),
        *_each("overflow", "mm", lambda q, k: q @ k.T,
               fp16=(n(64, 64, scale=100), n(64, 64, scale=100, seed=1)),
               fp8_e5m2=(n(64, 64, scale=100), n(64, 64, scale=100, seed=1))),
        *_each("overflow", "reciprocal", torch.reciprocal, fp16=1e-6 * n(8, 64, mean=9)),
        *_each("overflow", "div", lambda x, y: x / y, fp16=(n(8, 8, mean=900), 1e-3 * n(8, 8, mean=9))),
        *_each("overflow", "sum", lambda x: x.sum(dim=-1), fp16=n(8, 1024, mean=100)),
        *_each("overflow", "cumsum", lambda x: x.cumsum(-1), fp16=n(8, 1024, mean=100)),
        *_each("overflow", "vector_norm", lambda x: torch.linalg.vector_norm(x, dim=-1),
               fp16=n(8, 64, mean=2e4)),
        *_each("overflow", "input", lambda x: x, fp16=n(8, 64, mean=7e4), fp8_e4m3fn=n(8, 64, mean=500)),
        *_each("underflow", "mul", lambda x: x * x, fp16=n(8, 64, scale=1e-4), bf16=n(8, 64, scale=1e-21),
               fp8_e4m3fn=n(8, 64, scale=0.03), fp8_e5m2=n(8, 64, scale=2e-3)),
        *_each("underflow", "exp", torch.exp, fp16=n(8, 64, mean=-20), bf16=n(8, 64, mean=-95),
               fp8_e4m3fn=n(8, 64, mean=-8)),
        *_each("underflow", "softmax", lambda x: x.softmax(-1), fp16=n(8, 4096, scale=8),
               fp8_e4m3fn=n(8, 512), fp8_e5m2=n(4, 30_000)),
        *_each("underflow", "sigmoid", torch.sigmoid, fp16=n(8, 64, mean=-20)),
        *_each("underflow", "var", lambda x: x.var(-1), fp16=n(64, 64, scale=1e-4)),
        *_each("underflow", "input", lambda x: x, fp16=n(8, 64, scale=1e-7), fp8_e4m3fn=n(8, 64, scale=1e-3)),
        *_each("absorption", "add", lambda a, b: a + b, **small),
        *_each("absorption", "sub", lambda a, b: a - b, **small),
        *_each("absorption", "add", _repeat, **small),
        *_each("absorption", "add", _in_place, fp16=small["fp16"], bf16=small["bf16"]),
        *_each("absorption", "add", Residual(0.05), fp16=(n(64, 32, scale=1e3), n(64, 32, seed=1)),
               bf16=(n(64, 32, scale=1e3), n(64, 32, seed=1))),
        *_each("absorption", "add", lambda a, b: 1 + a * 0 + b, fp16=(n(8, 64), n(8, 64, scale=1e-4, seed=1)),
               bf16=(n(8, 64), n(8, 64, scale=1e-3, seed=1))),
        *_each("cancellation", "sub", lambda a, b: a - b, **near),
        *_each("cancellation", "sub", _center, **shifted),
        *_each("cancellation", "sub", _short_variance, fp16=n(64, 64, mean=100), bf16=n(64, 64, mean=30)),
        *_each("cancellation", "sub", lambda x: x.exp() - 1,
               fp16=n(8, 64, scale=1e-3), bf16=n(8, 64, scale=1e-2)),
        *_each("cancellation", "sub", lambda x: 1 - x.cos(),
               fp16=n(8, 64, scale=2e-2), bf16=n(8, 64, scale=5e-2)),
        *_each("cancellation", "sub", lambda x: (x + 1).sqrt() - x.sqrt(), fp16=n(8, 64, mean=3000),
               bf16=n(8, 64, mean=500)),
        *_each("cancellation", "layer_norm", lambda x: nn.functional.layer_norm(x, x.shape[-1:]), **shifted),
        *_each("cancellation", "softmax", lambda x: x.softmax(-1), fp16=n(64, 64, mean=1000),
               bf16=n(64, 64, mean=100)),
        *_each("cancellation", "var", lambda x: x.var(-1), fp16=n(64, 8, mean=3000, scale=0.3),
               bf16=n(64, 8, mean=1000, scale=0.5)),
        *_each("cancellation", "std", lambda x: x.std(-1), fp16=n(64, 8, mean=3000, scale=0.3)),
        *_each("cancellation", "log", torch.log, fp16=n(8, 64, mean=1, scale=2e-3),
               bf16=n(8, 64, mean=1, scale=1e-2)),
        *_each("cancellation", "sum", lambda x: x.sum(-1),
               fp16=torch.cat([n(64, 16, mean=9), n(64, 16, scale=1e-4, seed=2) - n(64, 16, mean=9)], -1)),
    ]  # fmt: skip


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.projections = nn.ModuleList(_linear(32, 32, seed=i) for i in range(4))

    def forward(self, x):
        q, k, v = (p(x) for p in list(self.projections)[:3])
        scores = q @ k.transpose(-1, -2) / 32**0.5
        return self.projections[3](scores.softmax(-1) @ v)


class Multihead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.heads = nn.MultiheadAttention(32, 4, batch_first=True)

    def forward(self, x):
        return self.heads(x, x, x)[0]


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(32), Attention()
        self.mlp = nn.Sequential(
            nn.LayerNorm(32), _linear(32, 64, seed=5), nn.GELU(), _linear(64, 32, seed=6)
        )

    def forward(self, x):
        x = x + self.attention(self.norm(x))
        return x + self.mlp(x)


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate, self.up, self.down = _linear(32, 64), _linear(32, 64, seed=1), _linear(64, 32, seed=2)

    def forward(self, x):
        return self.down(nn.functional.silu(self.gate(x)) * self.up(x))


def _by_hand(x):
    centered = x - x.mean(dim=-1, keepdim=True)
    return centered / (centered.pow(2).mean(dim=-1, keepdim=True) + 1e-5).sqrt()


def _masked(x):
    scores = x @ x.transpose(-1, -2) / x.shape[-1] ** 0.5
    mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=x.device).triu(1)
    return scores.masked_fill(mask, float("-inf")).softmax(-1) @ x


def clean() -> dict[str, tuple[Callable, torch.Tensor]]:
    x = normal(16, 32, seed=7)
    batch = normal(2, 16, 32, seed=8)
    return {
        "linear": (_linear(32, 32), x),
        "mlp": (nn.Sequential(_linear(32, 64), nn.ReLU(), _linear(64, 32, seed=1)), x),
        "gelu mlp": (nn.Sequential(_linear(32, 64), nn.GELU(), _linear(64, 32, seed=1)), x),
        "gated mlp": (Gated(), x),
        "layer norm": (nn.LayerNorm(32), x),
        "layer norm, mean 3": (nn.LayerNorm(32), x + 3),
        "layer norm by hand": (_by_hand, x),
        "rms norm": (nn.RMSNorm(32), x),
        "rms norm of large": (nn.RMSNorm(32), 1000 * x),
        "group norm": (nn.GroupNorm(4, 32), x),
        "batch norm": (nn.BatchNorm1d(32).eval(), x),
        "softmax": (lambda t: t.softmax(-1), x),
        "softmax, masked": (_masked, batch),
        "log_softmax": (lambda t: t.log_softmax(-1), x),
        "attention": (Attention(), batch),
        "fused attention": (lambda t: nn.functional.scaled_dot_product_attention(t, t, t), batch),
        "multihead": (Multihead(), batch),
        "block": (Block(), batch),
        "residual": (lambda t: t + torch.tanh(t), x),
        "convolution": (nn.Conv1d(16, 8, 3), batch),
        "sigmoid": (torch.sigmoid, x),
        "silu": (nn.functional.silu, x),
        "tanh": (torch.tanh, x),
        "mean": (lambda t: (t + 1).mean(-1), x),
        "bilinear": (lambda t: t @ t.T / 8, x),
        "exp": (torch.exp, x),
        "logsumexp": (lambda t: t.logsumexp(-1), x),
    }
