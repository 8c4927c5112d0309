"""Speed, accuracy and invariance of the operators beside other libraries, measured where it runs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence

from mfi_command import BadInput, require
from stable_ops.bench.cases import OPS, SAMPLING, plan
from stable_ops.bench.report import BenchReport

__all__ = ["BenchReport", "bench"]

CUDA_BACKENDS = ("stable_ops", "torch", "torch.compile", "liger", "quack", "flashinfer")
CUDA_LENGTHS = (128, 256, 512, 1024, 4096, 8192, 16_384, 32_768, 65_536, 131_072, 262_144)
CPU_LENGTHS = (128, 4096, 131_072)
CPU_OPS = ("softmax", "logsumexp", "layer_norm", "rms_norm", "gelu")


def bench(
    *,
    device: str = "cpu",
    ops: Sequence[str] | None = None,
    lengths: Sequence[int] | None = None,
    dtypes: Sequence[str] | None = None,
    backends: Sequence[str] | None = None,
    elements: int | None = None,
    calls: int | None = None,
    accuracy: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> BenchReport:
    """Time operators of this and other libraries in turn, against a copy in the same run.

    Parameters
    ----------
    device : {"cpu", "cuda"}
    ops, lengths, dtypes, backends : sequences, optional
        What to compare; by default every operator at eleven lengths from 128 to 262,144 (on a CPU five
        operators at three), in bfloat16 (CPU: float32), for every library that is installed.
    elements : int, optional
        Numbers in a tensor; 2^28 (CPU: 2^24) unless given. Ten such tensors must fit into memory.
    calls : int, optional
        Of which the median is taken: 51 (CPU: 11).
    accuracy : bool
        On a GPU also judge errors, batch invariance and the trial of `stable_ops.testing.check`; takes
        minutes. On a CPU errors are always judged.
    on_progress : callable, optional
        Called with (points done, points).

    Returns
    -------
    BenchReport
        A library that is not installed or has no such operator is listed in `absent` with the reason.

    Raises
    ------
    BadInput
        No such device, operator, dtype or library; no CUDA device; bfloat16 on a CPU, which numpy lacks.
    """
    if device not in ("cpu", "cuda"):
        raise BadInput(f"device {device!r} is not known: use cpu or cuda")
    if calls is not None and calls < 1:
        raise BadInput(f"calls must be at least 1, got {calls}")
    if device == "cpu":
        return _on_cpu(ops, lengths, dtypes, backends, elements, calls, on_progress)
    torch = require("torch", extra="torch", distribution="mfi-stable-ops")
    if not torch.cuda.is_available():
        raise BadInput("torch finds no CUDA device here: use --device cpu")
    from stable_ops.bench import timing
    from stable_ops.bench.accuracy import survey

    numbers = elements or 2**28
    names = _known(backends or CUDA_BACKENDS, CUDA_BACKENDS)
    chosen, formats = list(ops or OPS), list(dtypes or ["bfloat16"])
    points = plan(chosen, lengths or [n for n in CUDA_LENGTHS if n <= numbers], formats, elements=numbers)
    with torch.no_grad():
        prepared = timing.prepare(points, names, elements=numbers)
        launches = timing.launches(points, names)
        report = timing.measure(prepared, elements=numbers, calls=calls or 51, on_progress=on_progress)
        report.launches = launches
        if accuracy:
            survey(report, chosen, formats, names)
    return report


def _on_cpu(
    ops: Sequence[str] | None,
    lengths: Sequence[int] | None,
    dtypes: Sequence[str] | None,
    backends: Sequence[str] | None,
    elements: int | None,
    calls: int | None,
    on_progress: Callable[[int, int], None] | None,
) -> BenchReport:
    from stable_ops.bench import cpu

    numbers, chosen = elements or 2**24, list(ops or CPU_OPS)
    if sampling := [op for op in chosen if op in SAMPLING]:
        raise BadInput(f"{sampling[0]} is measured on a GPU only: use --device cuda")
    points = plan(
        chosen, lengths or [n for n in CPU_LENGTHS if n <= numbers], dtypes or ["float32"], elements=numbers
    )
    names = _known(backends or cpu.BACKENDS, cpu.BACKENDS)
    if backends is None:
        names = [name for name in names if not name.endswith("torch") or _has_torch()]
    return cpu.measure(points, names, calls=calls or 11, on_progress=on_progress)


def _known(given: Sequence[str], known: Sequence[str]) -> list[str]:
    for name in given:
        if name not in known:
            raise BadInput(f"library {name!r} is not compared: use one of {', '.join(known)}")
    return list(given)


def _has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None
