"""Watching one run: each operation that torch dispatches, judged as it happens."""

from __future__ import annotations

import math
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

# The extension point that torch's manual describes ("Extending PyTorch", modes).
from torch.utils._python_dispatch import TorchDispatchMode

from mfi_command import BadInput
from stable_ops.audit import judge
from stable_ops.audit.constants import MAKERS, Constants
from stable_ops.audit.fixes import fix_of
from stable_ops.audit.judge import Loss
from stable_ops.audit.operands import Operands, inputs_overflow, may_lose, operands_of, row_losses
from stable_ops.audit.report import AuditReport, Hazard
from stable_ops.audit.sample import (
    Sampler,
    magnitude_range,
    nonzero_magnitudes,
    smallest_magnitude,
)
from stable_ops.audit.screen import Screen
from stable_ops.fp.formats import BF16, FP8_E4M3FN, FP8_E5M2, FP16, Format

# They move or select values: what they lose was lost before.
_COPIES = {
    "_to_copy",
    "abs",
    "amax",
    "amin",
    "arange",
    "cat",
    "clamp",
    "clamp_min",
    "clamp_min_",
    "clone",
    "constant_pad_nd",
    "contiguous",
    "copy_",
    "detach",
    "embedding",
    "empty",
    "empty_like",
    "fill_",
    "flip",
    "full",
    "full_like",
    "gather",
    "index",
    "index_select",
    "lift_fresh",
    "lift_fresh_copy",
    "masked_fill",
    "masked_fill_",
    "max",
    "maximum",
    "min",
    "minimum",
    "native_dropout",
    "neg",
    "ones",
    "ones_like",
    "relu",
    "relu_",
    "repeat",
    "roll",
    "scalar_tensor",
    "select_scatter",
    "slice_scatter",
    "sort",
    "stack",
    "topk",
    "tril",
    "tril_",
    "triu",
    "triu_",
    "where",
    "zero_",
    "zeros",
    "zeros_like",
}
# An infinity here is too large a number; elsewhere (log 0, 1 / 0) it is a pole.
_GROWING = {"add", "sub", "mul", "pow", "exp", "mm", "bmm", "addmm", "sum", "cumsum", "prod", "layer_norm"}
_CANDIDATES = (FP8_E4M3FN, FP8_E5M2, FP16, BF16)


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Collects the hazards of what is dispatched, or of tensors that are handed to it."""

    def __init__(self, formats: Sequence[Format], *, same_accumulator: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.formats, self.same_accumulator = formats, same_accumulator
        self.screen = Screen(formats)
        self.sampler, self.path, self.whole = Sampler(), [""], 0
        self.operations = 0
        self.constants = Constants()
        # By overload: its name, and whether it answers a view or only moves values.
        self.kinds: dict[Any, tuple[str, bool, bool]] = {}
        self.found: dict[tuple[str, ...], Hazard] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # True, the default, wraps each call, and its first one imports torch's compiler, which takes seconds.
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func not in self.kinds:
            name = func.overloadpacket.__name__
            self.kinds[func] = name, bool(func.is_view), name in _COPIES or name.endswith("unsafe_view")
        name, is_view, copies = self.kinds[func]
        if self.whole or is_view:
            return func(*args, **(kwargs or {}))
        written = name.endswith("_") and not name.startswith("_")
        if name in MAKERS or self.constants.hold(args):
            result = func(*args, **(kwargs or {}))
            self.constants.keep(result)
            return result
        if written:
            self.constants.forget(args[0])
        if copies:
            return func(*args, **(kwargs or {}))
        # Before the call, which may write into its operands.
        operands = operands_of(name, args, kwargs or {}, self.sampler)
        result = func(*args, **(kwargs or {}))
        first = result[0] if isinstance(result, (tuple, list)) and result else result
        if isinstance(first, torch.Tensor) and first.dtype == torch.float32 and first.numel():
            self.operations += 1
            # An operand that was written over cannot be asked any more whether it was lost before.
            read = [a for a in args[1 if written else 0 :] if isinstance(a, torch.Tensor)]
            # A constant that is too large is not reported where it is made, so it is here.
            sources = [a for a in read if not self.constants.hold((a,))]
            grows = operands.op in _GROWING and all(math.isfinite(a) for a in args if isinstance(a, float))
            self.judge(operands.op, "output", first, operands, sources, grows=grows)
        return result

    def judge(
        self,
        op: str,
        tensor: str,
        values: torch.Tensor,
        operands: Operands,
        sources: Sequence[torch.Tensor],
        *,
        grows: bool = False,
    ) -> None:
        largest, infinite = magnitude_range(values)
        # float32 itself overflows: every narrower format does.
        infinite = infinite and grows and not any(_has_infinity(s) for s in sources)
        if infinite:
            largest = math.inf
        sample = self.sampler.take(values)
        magnitudes = np.abs(sample)
        if not self.screen.values(largest, magnitudes) and not may_lose(
            operands, self.screen, same_accumulator=self.same_accumulator
        ):
            return
        smallest = smallest_magnitude(magnitudes)

        def losses(format: Format, *, made_here: bool) -> list[Loss]:
            found: list[Loss | None] = []
            if largest > format.max:
                found.append(judge.overflow(largest, format))
            if smallest < format.min_normal:
                found.append(judge.underflow(nonzero_magnitudes(sample), format))
            if made_here:
                found = [x for x in found if x and not self._lost_before(x, sources, format)]
            found += row_losses(operands, format, same_accumulator=self.same_accumulator)
            return [x for x in found if x]

        wide = "fp64" if infinite else "fp32"
        for format in self.formats:
            for loss in losses(format, made_here=True):
                self._keep(
                    op,
                    tensor,
                    loss,
                    format,
                    lambda f: not (inputs_overflow(operands, f) or losses(f, made_here=False)),
                    wide,
                )

    def judge_rows(self, op: str, tensor: str, operands: Operands) -> None:
        """Judge what an operation would do to rows, without its result."""
        for format in self.formats:
            for loss in row_losses(operands, format, same_accumulator=self.same_accumulator and op == "sum"):
                if loss:
                    self._keep(op, tensor, loss, format, lambda f: self._safe(operands, f), "fp32")

    def _safe(self, operands: Operands, format: Format) -> bool:
        found = row_losses(operands, format, same_accumulator=self.same_accumulator)
        return not (inputs_overflow(operands, format) or any(found))

    def _keep(
        self, op: str, tensor: str, loss: Loss, format: Format, safe: Callable[[Format], bool], wide: str
    ) -> None:
        """The worst of a module's losses of one kind in one operation."""
        where = self.path[-1]
        key = (where, op, tensor, loss.kind, format.name)
        known = self.found.get(key)
        if known is None or known.bits_lost < loss.bits:
            narrowest = next((f.name for f in _CANDIDATES if safe(f)), wide)
            self.found[key] = _hazard(where, op, tensor, loss, format, narrowest)

    def report(self) -> AuditReport:
        """What was found, most bits lost first."""
        hazards = sorted(self.found.values(), key=lambda h: -h.bits_lost)
        return AuditReport(tuple(hazards), tuple(f.name for f in self.formats), self.operations)

    def _lost_before(self, loss: Loss, sources: Sequence[torch.Tensor], format: Format) -> bool:
        for source in sources:
            if source.dtype != torch.float32 or not source.numel():
                continue
            if loss.kind == "overflow" and judge.overflows(magnitude_range(source)[0], format):
                return True
            if loss.kind == "underflow":
                before = judge.underflow(nonzero_magnitudes(self.sampler.take(source)), format)
                if before is not None and before.share >= 0.9 * loss.share:
                    return True
        return False

    def store(self, kind: str, name: str, values: Any) -> None:
        """Judge a tensor that the run starts from."""
        if isinstance(values, torch.Tensor) and values.dtype == torch.float32 and values.numel():
            self.judge(kind, name, values.detach(), Operands(kind), ())


def _has_infinity(x: torch.Tensor) -> bool:
    return x.dtype == torch.float32 and x.numel() > 0 and magnitude_range(x)[1]


class _WholeFunctions(TorchFunctionMode):
    """torch's rms_norm computes in float32 inside, whatever the dtype: one operation, not six."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__name__", "") != "rms_norm":
            return func(*args, **(kwargs or {}))
        self.recorder.whole += 1
        try:
            result = func(*args, **(kwargs or {}))
        finally:
            self.recorder.whole -= 1
        if not self.recorder.whole:
            _judge_whole(self.recorder, args, result)
        return result


def _judge_whole(recorder: Recorder, args: tuple[Any, ...], result: Any) -> None:
    if isinstance(result, torch.Tensor) and result.numel():
        recorder.operations += 1
        sources = [a for a in args if isinstance(a, torch.Tensor)]
        operands = Operands("rms_norm", rows=recorder.sampler.rows(sources[0], [-1])) if sources else None
        recorder.judge("rms_norm", "output", result, operands or Operands("rms_norm"), sources)


def _watch(module: torch.nn.Module, recorder: Recorder, stack: ExitStack) -> None:
    for name, child in module.named_modules():
        whole = type(child).__name__.endswith("RMSNorm")

        def enter(_: Any, args: Any, *, path: str = name, whole: bool = whole) -> None:
            recorder.path.append(path)
            recorder.whole += whole

        def leave(_: Any, args: Any, result: Any, *, whole: bool = whole) -> None:
            recorder.whole -= whole
            if whole and not recorder.whole:
                _judge_whole(recorder, args, result)
            recorder.path.pop()

        stack.callback(child.register_forward_pre_hook(enter).remove)
        stack.callback(child.register_forward_hook(leave).remove)


def _hazard(where: str, op: str, tensor: str, loss: Loss, format: Format, safe: str) -> Hazard:
    return Hazard(
        where=where,
        op=op,
        tensor=tensor,
        kind=loss.kind,
        format=format.name,
        bits_lost=round(loss.bits, 2),
        share=loss.share,
        safe_dtype=safe,
        fix=fix_of(loss.kind, op),
    )


def record(
    function: Callable[..., Any], inputs: Sequence[Any], formats: Sequence[Format], *, same_accumulator: bool
) -> AuditReport:
    """The hazards of one call, and how many operations were judged."""
    recorder = Recorder(formats, same_accumulator=same_accumulator)
    with torch.no_grad(), np.errstate(all="ignore"):
        for i, x in enumerate(inputs):
            recorder.store("input", f"input {i}", x)
        with ExitStack() as stack:
            if isinstance(function, torch.nn.Module):
                for name, parameter in function.named_parameters():
                    if parameter.dtype != torch.float32:
                        raise BadInput(
                            f"{name} is {parameter.dtype}: an audit runs in float32, pass model.float()"
                        )
                    recorder.store("parameter", name, parameter)
                _watch(function, recorder, stack)
            if "torch._dynamo" in sys.modules:
                # A compiled function is judged by its own operations, and nobody compiles the recorder.
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            stack.enter_context(recorder)
            stack.enter_context(_WholeFunctions(recorder))
            try:
                began = time.perf_counter()
                function(*inputs)
            except Exception as error:
                frame = traceback.extract_tb(error.__traceback__)[-1]
                message = f"{type(error).__name__}: {error}".splitlines()[0]
                raise BadInput(f"the module fails on its inputs, line {frame.lineno}: {message}") from error
            run_s = time.perf_counter() - began
    return replace(recorder.report(), run_s=run_s)
