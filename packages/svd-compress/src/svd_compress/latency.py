"""Dense against factored, measured on this device for each shape, rank and number of tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mfi_command import BadInput
from svd_compress.allocation import Layout, stored
from svd_compress.timing import Call, Interval, copies, median_interval, rounds_on_cpu, rounds_on_cuda

if TYPE_CHECKING:
    import torch

# A measured gain above the bound by more than this is a fault of the measurement.
TOLERANCE = 1.05
# A fused kernel is used only where it is this much faster than two library calls.
WORTH_FUSING = 1.15
TRIAL_ROUNDS = 5
# Larger than the last level of most processors, so that on a CPU the weights of a group need not be several
# times as much: once around evicts them.
CPU_CACHE_BYTES, CPU_TIMES, GPU_TIMES = 32 << 20, 1.25, 3.0


@dataclass(frozen=True)
class LatencyRow:
    """One shape at one rank for one number of tokens, beside dense.

    Attributes
    ----------
    shape, rank, layout, tokens, dtype, device
        What was measured; `kernel` is "two calls" or "fused".
    dense_s, factored_s
        Medians in seconds.
    speed_up
        Dense time over factored time with its interval: medians over rounds in which both took turns.
    bound
        min(byte ratio, FLOP ratio): no faster than this by doing less work.
    verdict
        "faster": the whole interval is above 1; "leave dense"; or "measurement error": above the bound by
        more than 5 %.
    """

    shape: tuple[int, int]
    rank: int
    layout: Layout
    tokens: int
    dtype: str
    device: str
    kernel: str
    dense_s: float
    factored_s: float
    speed_up: Interval
    bound: float
    verdict: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


def bound(shape: tuple[int, int], rank: int, *, layout: Layout) -> float:
    r"""min(byte ratio, FLOP ratio) of dense over factored: mn over the numbers that the factors hold.

    For every weight a pass moves one number and does two operations per token, so both ratios are the same.
    Inputs and outputs are left out: they are the same for both, and leaving them out makes the bound larger,
    so that what is above it cannot be real.
    """
    m, n = shape
    return m * n / stored(shape, rank, layout)


def judge(speed_up: Interval, limit: float) -> str:
    """The verdict on a measured speed-up."""
    if speed_up.median > TOLERANCE * limit:
        return "measurement error"
    return "faster" if speed_up.low > 1.0 else "leave dense"


def measure(
    shape: tuple[int, int],
    ranks: Sequence[int],
    tokens: int,
    *,
    layout: Layout = "two",
    device: str = "cpu",
    dtype: str = "float32",
    rounds: int = 21,
    fused: bool = True,
    seed: int = 0,
) -> list[LatencyRow]:
    """Time one shape, dense and at each rank.

    Parameters
    ----------
    shape
        (out, in) of the layer.
    ranks
        From 1 to min(out, in) - 1.
    tokens
        Rows of the input: 1 is a decode step of one request.
    layout
        How the factors are kept.
    device, dtype
        As torch names them.
    rounds
        How often each is timed; all alternatives take turns in each round.
    fused
        On a GPU and for one token, time the fused kernel too; it is reported where it is at least 1.15 times
        as fast as two library calls.

    Raises
    ------
    BadInput
        If a rank is out of range, or the device is not there.
    """
    import torch

    _check(shape, ranks, tokens, device)
    kind = getattr(torch, dtype)
    size = kind.itemsize
    on_gpu = torch.device(device).type == "cuda"
    cache = torch.cuda.get_device_properties(device).L2_cache_size if on_gpu else CPU_CACHE_BYTES
    generator = torch.Generator().manual_seed(seed)

    drawn: dict[tuple[int, ...], torch.Tensor] = {}

    def draw(*form: int) -> torch.Tensor:
        # Numbers are drawn once for each form; a copy has memory of its own, which is what counts.
        if form not in drawn:
            drawn[form] = torch.randn(*form, generator=generator).mul_(0.05).to(device, kind)
        return drawn[form].clone()

    x = draw(tokens, shape[1])
    rows = []
    with torch.inference_mode():
        for rank in ranks:
            least = min(stored(shape, rank, layout), math.prod(shape)) * size
            count = copies(least, cache_bytes=cache, times=GPU_TIMES if on_gpu else CPU_TIMES)
            dense = _dense_calls(shape, x, count, draw)
            calls = _factored_calls(shape, rank, layout, x, count, draw)
            if on_gpu and fused and tokens == 1:
                calls["fused"] = _fused_calls(shape, rank, layout, x, count, draw)
            timed = (rounds_on_cuda if on_gpu else rounds_on_cpu)([dense, *calls.values()], rounds=rounds)
            times = dict(zip(calls, timed[:, 1:].T, strict=True))
            kernel = _choose(times)
            gain = median_interval(timed[:, 0] / times[kernel])
            limit = bound(shape, rank, layout=layout)
            rows.append(
                LatencyRow(
                    shape=shape,
                    rank=rank,
                    layout=layout,
                    tokens=tokens,
                    dtype=dtype,
                    device=device_name(device),
                    kernel=kernel,
                    dense_s=float(np.median(timed[:, 0])),
                    factored_s=float(np.median(times[kernel])),
                    speed_up=gain,
                    bound=limit,
                    verdict=judge(gain, limit),
                )
            )
    return rows


def _choose(times: dict[str, Any]) -> str:
    """The fused kernel only where it is worth it."""
    if "fused" in times and np.median(times["two calls"]) >= WORTH_FUSING * np.median(times["fused"]):
        return "fused"
    return "two calls"


def _check(shape: tuple[int, int], ranks: Sequence[int], tokens: int, device: str) -> None:
    import torch

    if bad := [rank for rank in ranks if not 1 <= rank < min(shape)]:
        raise BadInput(f"rank {bad[0]} of a layer of shape {shape}; 1 to {min(shape) - 1} is expected")
    if tokens < 1:
        raise BadInput(f"tokens is {tokens}; 1 or more is expected")
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise BadInput("no CUDA device is here; measure with --device cpu")


def _dense_calls(shape: tuple[int, int], x: torch.Tensor, count: int, draw: Callable[..., Any]) -> list[Call]:
    from functools import partial

    from torch.nn.functional import linear

    return [partial(linear, x, draw(*shape)) for _ in range(count)]


def _factored_calls(
    shape: tuple[int, int], rank: int, layout: Layout, x: torch.Tensor, count: int, draw: Callable[..., Any]
) -> dict[str, list[Call]]:
    from functools import partial

    return {"two calls": [partial(_module(shape, rank, layout, draw), x) for _ in range(count)]}


def _module(shape: tuple[int, int], rank: int, layout: Layout, draw: Callable[..., Any]) -> Any:
    import torch

    from svd_compress.factored import FactoredLinear, PivotedLinear

    m, n = shape
    if layout == "two":
        return FactoredLinear(draw(m, rank), draw(rank, n))
    right = draw(rank, n)
    pivots = torch.randperm(m, generator=torch.Generator().manual_seed(rank))[:rank].sort().values
    return PivotedLinear(draw(m - rank, rank), right, pivots.to(right.device))


def _fused_calls(
    shape: tuple[int, int], rank: int, layout: Layout, x: torch.Tensor, count: int, draw: Callable[..., Any]
) -> list[Call]:
    """Calls of the kernel with the launch that a short trial found fastest."""
    from functools import partial

    from svd_compress.kernels.gemv import LAUNCHES, LowRankGemv
    from svd_compress.pivoting import rest

    layers: list[tuple[Any, dict[str, Any]]] = []
    for _ in range(count):
        module = _module(shape, rank, layout, draw)
        where: dict[str, Any] = {}
        if layout == "pivoted":
            pivots = module.place.argsort()[:rank]
            where = {"pivots": pivots.int(), "rest": rest(pivots, shape[0]).int()}
        layers.append((module, where))
    trials: list[list[Call]] = [
        [
            partial(LowRankGemv(module.left.detach(), module.right.detach(), launch=launch, **where), x[0])
            for module, where in layers
        ]
        for launch in LAUNCHES
    ]
    return trials[int(np.median(rounds_on_cuda(trials, rounds=TRIAL_ROUNDS), 0).argmin())]


def device_name(device: str) -> str:
    """The name of a GPU, or the processor's."""
    import torch

    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return _processor()


def _processor() -> str:
    import platform
    from pathlib import Path

    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def candidate_ranks(shape: tuple[int, int], *, multiple: int, layout: Layout, count: int = 8) -> list[int]:
    """Evenly spaced aligned ranks below the one that saves nothing."""
    m, n = shape
    largest = max(
        (r for r in range(multiple, min(m, n), multiple) if stored(shape, r, layout) < m * n), default=0
    )
    if not largest:
        return []
    steps = np.linspace(largest / count, largest, count)
    return sorted({max(multiple, int(step) // multiple * multiple) for step in steps})


def alignment(device: str) -> int:
    """Ranks that the device's matrix units like: multiples of 64 on a GPU, of 16 on a CPU."""
    return 64 if device.startswith("cuda") else 16
