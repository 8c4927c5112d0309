"""Verdicts on kernels against a profiler's counters, and one kernel optimised by fusion."""

from __future__ import annotations

import importlib
import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mfi.checks.registry import Outcome, Skip, check

RESULTS = Path(__file__).parents[5] / "packages" / "roofline" / "benchmarks" / "results"
KERNELS = (
    *(
        "gemm",
        "gemv",
        "softmax",
        "layer_norm",
        "attention_prefill",
        "attention_decode",
        "swiglu",
        "embedding",
    ),
)
# A product whose tiles take several waves re-reads its operands, so the bytes of one whose tiles do not are
# compared; the verdict is that of the large one.
_BYTES_OF = {"gemm": "gemm_skinny"}
_BYTES_WITHIN = 0.1
_SPEED_UP_WITHIN = 0.15
_ELEMENTS = 1 << 24  # 64 MiB an array: five of them are beyond every cache
_ROUNDS, _TRIALS = 9, 3


@check(
    "w16-bound",
    title="Compute- or memory-bound: verdicts on eight kernels against a profiler's counters [recorded]",
    bound="8 of 8 verdicts agree; counted bytes within 10 % of DRAM's counters",
    unit="verdicts",
)
def verdicts() -> Outcome:
    """The verdict of `place` on measured ceilings, and the busier of compute and memory by counters."""
    run = _recorded("kernels_h200.json")
    ceilings = str(RESULTS / "ceilings_h200.json")
    return judge(run["cases"], ceilings, f"{run['device']}, {run['date']}, ncu {run['versions']['ncu']}")


def judge(cases: list[dict[str, Any]], ceilings: str, where: str) -> Outcome:
    """The row's verdict on the cases of a run."""
    from roofline import device, place
    from roofline.tabled import kernel_from

    here, by_name = device(ceilings), {case["name"]: case for case in cases}
    agree, worst, wrong = 0, 0.0, []
    for name in KERNELS:
        case = by_name.get(name)
        if case is None:
            wrong.append(f"{name} is missing")
            continue
        counted = kernel_from({**case, "time_s": None}, where=name, dtype=case["dtype"])
        verdict = place(counted.operator, here, dtype=case["dtype"]).bound
        busier = max(case["utilisation"], key=lambda key: case["utilisation"][key])
        agree += verdict == busier
        if verdict != busier:
            wrong.append(f"{name}: {verdict}, by counters {busier}")
        worst = max(worst, _bytes_off(by_name.get(_BYTES_OF.get(name, name), case)))
    return Outcome(
        measured={"agree": agree, "of": len(KERNELS), "bytes_off": round(worst, 4)},
        passed=agree == len(KERNELS) and worst <= _BYTES_WITHIN,
        detail="; ".join([where, *wrong]),
    )


def _bytes_off(case: Mapping[str, Any]) -> float:
    from roofline.tabled import kernel_from

    counted = kernel_from({**case, "time_s": None}, where=case["name"], dtype=case["dtype"])
    return float(abs(case["dram_bytes"] / counted.operator.bytes - 1))


@check(
    "w16-optimise",
    title="a + b * c in one pass instead of two: bytes moved, speed-up predicted and measured",
    bound="measured within 15 % of predicted",
    unit="speed-up",
)
def optimise() -> Outcome:
    """Live on this CPU; SwiGLU on a GPU beside it where the recorded run is there.

    Two passes read b and c, write b * c, read it and a, and write; a cache fetches what is written first:
    eight arrays against five. Other work may slow one side, so a ratio out of range is measured again.
    """
    from roofline import fusion_speed_up
    from roofline import operators as op

    apart = [
        op.vector(name, _ELEMENTS, flop_per_element=1, dtype="fp32", inputs=2) for name in ("product", "sum")
    ]
    predicted = fusion_speed_up(apart, dtype="fp32", write_allocate=True)
    measured = _measured(predicted)
    found = {"cpu": {"predicted": predicted, "measured": round(measured, 3)}}
    held = abs(measured / predicted - 1) <= _SPEED_UP_WITHIN
    detail = f"{sum(one.bytes for one in apart) / 2**20:.0f} MiB in two passes, 256 MiB in one"
    if (RESULTS / "kernels_h200.json").is_file():
        found["gpu"] = _recorded_gain()
        off = abs(found["gpu"]["measured"] / found["gpu"]["predicted"] - 1)
        held, detail = held and off <= _SPEED_UP_WITHIN, f"{detail}; SwiGLU on the H200 [recorded]"
    return Outcome(measured=found, passed=held, detail=detail)


def _measured(predicted: float) -> float:
    """On one thread: of several, one that waits for a busy CPU would hold up both passes of the slow form."""
    torch: Any = importlib.import_module("torch")
    threads, ratio = torch.get_num_threads(), 0.0
    torch.set_num_threads(1)
    try:
        passes = _passes()
        for _ in range(_TRIALS):
            ratio = _ratio(*passes)
            if abs(ratio / predicted - 1) <= _SPEED_UP_WITHIN:
                break
    finally:
        torch.set_num_threads(threads)
    return ratio


def _passes() -> tuple[Callable[[], object], Callable[[], object]]:
    torch: Any = importlib.import_module("torch")
    generator = torch.Generator().manual_seed(16)
    a, b, c = (torch.randn(_ELEMENTS, generator=generator) for _ in range(3))
    between, out = torch.empty(_ELEMENTS), torch.empty(_ELEMENTS)

    def two() -> object:
        torch.mul(b, c, out=between)
        return torch.add(a, between, out=out)

    return two, lambda: torch.addcmul(a, b, c, out=out)


def _ratio(slow: Callable[[], object], fast: Callable[[], object]) -> float:
    """Time of one over that of the other, the median of rounds in which they follow each other."""
    ratios = []
    for _ in range(_ROUNDS):
        times = []
        for run in (slow, fast):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        ratios.append(times[0] / times[1])
    return statistics.median(ratios[1:])


def _recorded_gain() -> dict[str, float]:
    """SwiGLU as one kernel against silu and a product, on the recorded GPU."""
    from roofline import fusion_speed_up
    from roofline import operators as op

    cases = {case["name"]: case for case in _recorded("kernels_h200.json")["cases"]}
    elements = cases["swiglu"]["rows"] * cases["swiglu"]["width"]
    silu = op.activation("silu", elements, form="silu", gated=False, dtype="bf16")
    product = op.vector("product", elements, flop_per_element=1, dtype="bf16", inputs=2)
    return {
        "predicted": round(fusion_speed_up([silu, product], dtype="bf16"), 3),
        "measured": round(cases["swiglu_unfused"]["time_s"] / cases["swiglu"]["time_s"], 3),
    }


def _recorded(name: str) -> Mapping[str, Any]:
    path = RESULTS / name
    if not path.is_file():
        raise Skip("needs the repository's benchmark results")
    content: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
