"""Matrix products of a CUDA device: the rate of each dtype that its units have, on random data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from roofline.measurement import Rate, best

# (m, n, k): the square everybody quotes, a smaller one, a deep one with few results.
_SHAPES = ((8192, 8192, 8192), (4096, 4096, 4096), (8192, 8192, 16384))
_SLOW = ("fp32", "fp64")  # vector units: a product of 8192 takes a tenth of a second
# A chip at its power limit lowers its clocks within milliseconds, so a rate belongs to a state of the chip:
# ten products after a pause, as the figures that people quote are measured, and products without a pause.
_BURSTS, _BURST, _PAUSE_S = 5, 10, 0.25
Task = Callable[[], object]


def product_rates(
    torch: Any, timed: Callable[..., list[float]], dtype: str, *, seconds: float
) -> dict[str, Rate]:
    """FLOP/s (operations/s for int8) of each shape, `"8192x8192x8192"` -> rate without pauses, and of the
    first shape in bursts (`"8192x8192x8192 in bursts"`); empty where the device or torch has no such product.
    """
    shapes = _SHAPES[1:2] if dtype in _SLOW else _SHAPES
    rates = {}
    for m, n, k in shapes:
        try:
            with _tf32(torch, dtype == "tf32"):
                task = _product(torch, dtype, m, n, k)
                task()
                torch.cuda.synchronize()
                if (m, n, k) == shapes[0]:
                    rates[f"{m}x{n}x{k} in bursts"] = Rate.of(2 * m * n * k, _bursts(torch, timed, task))
                taken = timed(torch, task, seconds / len(shapes), at_once=2 if dtype in _SLOW else 8)
        except (RuntimeError, AttributeError, NotImplementedError):
            # The one way to learn that a build of torch lacks fp8 or int8 products for this device.
            continue
        rates[f"{m}x{n}x{k}"] = Rate.of(2 * m * n * k, taken)
    return rates


def _bursts(torch: Any, timed: Callable[..., list[float]], task: Task) -> list[float]:
    taken = []
    for _ in range(_BURSTS):
        torch.cuda.synchronize()
        time.sleep(_PAUSE_S)
        taken.append(timed(torch, task, 0.0, at_once=_BURST, readings=1)[0])
    return taken


def best_product(rates: dict[str, Rate]) -> Rate:
    """The rate of the best shape: a ceiling, so that of the chip at its coolest."""
    return best(rates)[1]


def sustained_product(rates: dict[str, Rate]) -> Rate:
    """The rate of the best shape without pauses."""
    return best({name: rate for name, rate in rates.items() if "bursts" not in name})[1]


def dtypes(torch: Any) -> list[str]:
    """Names of the dtypes worth trying on this device."""
    major = torch.cuda.get_device_capability()
    names = ["fp16", "fp32", "fp64"]
    if major >= (7, 5):
        names.append("int8")
    if major >= (8, 0):
        names += ["bf16", "tf32"]
    if major >= (8, 9):
        names.append("fp8")
    return names


@contextmanager
def _tf32(torch: Any, allowed: bool) -> Iterator[None]:
    """fp32 runs with tf32 switched off, tf32 with it on, and the setting is put back."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def _product(torch: Any, dtype: str, m: int, n: int, k: int) -> Task:
    if dtype == "int8":
        a = torch.randint(-128, 128, (m, k), device="cuda", dtype=torch.int8)
        b = torch.randint(-128, 128, (n, k), device="cuda", dtype=torch.int8).t()
        return lambda: torch._int_mm(a, b)
    if dtype == "fp8":
        kind = torch.float8_e4m3fn
        a = torch.randn(m, k, device="cuda").to(kind)
        b = torch.randn(n, k, device="cuda").to(kind).t()
        one = torch.ones((), device="cuda")
        return lambda: torch._scaled_mm(
            a, b, scale_a=one, scale_b=one, out_dtype=torch.bfloat16, use_fast_accum=True
        )
    kinds = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp64": torch.float64}
    kind = kinds.get(dtype, torch.float32)
    a = torch.randn(m, k, device="cuda", dtype=kind)
    b = torch.randn(k, n, device="cuda", dtype=kind)
    out = torch.empty(m, n, device="cuda", dtype=kind)
    return lambda: torch.mm(a, b, out=out)
