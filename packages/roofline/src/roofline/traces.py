"""Kernels with their times from a trace of torch's profiler, counted by the shapes that it recorded."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mfi_command import BadInput
from roofline.aten import GATHERS, base_name, kind_of, product_flop, vector_flop
from roofline.kernels import Kernel
from roofline.operators import Operator

_BYTES = {
    "float": 4,
    "double": 8,
    "c10::BFloat16": 2,
    "c10::Half": 2,
    "long int": 8,
    "int": 4,
    "bool": 1,
    "c10::Float8_e4m3fn": 1,
    "c10::Float8_e5m2": 1,
    "signed char": 1,
    "unsigned char": 1,
    "long": 8,
}
_DTYPES = {"float": "fp32", "double": "fp64", "c10::BFloat16": "bf16", "c10::Half": "fp16"}
_ELEMENTWISE = (
    *("add", "sub", "mul", "div", "silu", "gelu", "relu", "sigmoid", "tanh", "exp", "pow", "rsqrt", "sqrt"),
    *("neg", "cos", "sin", "clone", "copy", "to", "_to_copy", "where", "masked_fill", "softmax", "_softmax"),
    *(
        "native_layer_norm",
        "layer_norm",
        "rms_norm",
        "_fused_rms_norm",
        "addcmul",
        "lerp",
        "cat",
        "contiguous",
    ),
)


def read_trace(content: Mapping[str, Any], *, where: str) -> tuple[Kernel, ...]:
    """Kernels of a chrome trace, equal ones added up; those whose operator cannot be counted have only a time
    and are left out.

    On a device: each kernel belongs to the operator that launched it. Without one: the innermost operators
    that can be counted, with their own time.

    Raises
    ------
    BadInput
        No operator with shapes: profile with `record_shapes=True`.
    """
    events = [one for one in content["traceEvents"] if isinstance(one, dict) and one.get("ph") == "X"]
    operators = [
        one for one in events if one.get("cat") == "cpu_op" and "Input Dims" in (one.get("args") or {})
    ]
    if not operators:
        raise BadInput(f"{where}: no operator with shapes; profile with record_shapes=True")
    kernels = [one for one in events if one.get("cat") in ("kernel", "gpu_memcpy", "gpu_memset")]
    pairs = _launched(operators, kernels) if kernels else _innermost(operators)
    times: defaultdict[tuple[Any, ...], float] = defaultdict(float)
    runs: Counter[tuple[Any, ...]] = Counter()
    for operator, seconds in pairs:
        counted = _counted(operator)
        if counted is not None:
            times[counted] += seconds
            runs[counted] += 1
    return tuple(
        Kernel(Operator(name, kind, runs[key], flop * runs[key], moved * runs[key]), dtype, seconds)
        for key, seconds in times.items()
        for name, kind, flop, moved, dtype in [key]
    )


def _launched(operators: Sequence[Any], kernels: Sequence[Any]) -> Iterator[tuple[Any, float]]:
    """Each operator with the time of all its kernels."""
    named = {one["args"].get("External id"): one for one in operators}
    spent: defaultdict[Any, float] = defaultdict(float)
    for kernel in kernels:
        spent[(kernel.get("args") or {}).get("External id")] += float(kernel["dur"]) * 1e-6
    for key, seconds in spent.items():
        if key in named:
            yield _countable_parent(named[key], operators), seconds


def _countable_parent(operator: Any, operators: Sequence[Any]) -> Any:
    """The operator itself if its name can be counted, else the innermost one around it that can."""
    if base_name(operator["name"]) in _countable():
        return operator
    around = [
        one
        for one in operators
        if one["tid"] == operator["tid"]
        and one["ts"] <= operator["ts"]
        and one["ts"] + one["dur"] >= operator["ts"] + operator["dur"]
        and base_name(one["name"]) in _countable()
    ]
    return max(around, key=lambda one: one["ts"], default=operator)


def _innermost(operators: Sequence[Any]) -> Iterator[tuple[Any, float]]:
    known = [one for one in operators if base_name(one["name"]) in _countable()]
    known.sort(key=lambda one: (one["tid"], one["ts"], -one["dur"]))
    for here, after in zip(known, [*known[1:], None], strict=True):
        holds = after is not None and after["tid"] == here["tid"] and after["ts"] < here["ts"] + here["dur"]
        if not holds:
            yield here, float(here["dur"]) * 1e-6


def _countable() -> set[str]:
    return {
        *("mm", "bmm", "addmm", "baddbmm", "mv", "matmul", "linear", "_scaled_mm", "_int_mm"),
        *("_scaled_dot_product_flash_attention", "_scaled_dot_product_efficient_attention"),
        *("_scaled_dot_product_cudnn_attention", "_scaled_dot_product_flash_attention_for_cpu"),
        *_ELEMENTWISE,
        *GATHERS,
    }


def _counted(event: Any) -> tuple[str, str, int, int, str] | None:
    """(name, kind, FLOP, bytes, dtype) of one run; None where shapes do not tell."""
    name = base_name(event["name"])
    shapes, kinds = event["args"]["Input Dims"], event["args"].get("Input type", [])
    tensors = [
        (shape, _BYTES[kind]) for shape, kind in zip(shapes, kinds, strict=False) if kind in _BYTES and shape
    ]
    if name not in _countable() or not tensors:
        return None
    out = _result(name, shapes)
    width = tensors[0][1]
    if out is None:
        return None
    products = product_flop(name, shapes, out)
    elements = [math.prod(shape) for shape, _ in tensors]
    flop = products if products is not None else vector_flop(name, elements, math.prod(out))
    moved = sum(math.prod(shape) * size for shape, size in tensors) + math.prod(out) * width
    if name in GATHERS:
        moved = 2 * math.prod(out) * width + sum(math.prod(shape) * size for shape, size in tensors[1:])
    return _label(name, shapes), kind_of(name), flop, moved, _DTYPES.get(kinds[0], "bf16")


def _label(name: str, shapes: Sequence[Any]) -> str:
    """The operator with the shapes that tell its runs apart: of a product both, else the first."""
    factors = shapes[1:3] if name in ("addmm", "baddbmm") else shapes[:2]
    kind = kind_of(name)
    shown = factors if kind == "matmul" else shapes[:1]
    sizes = " by ".join("x".join(str(size) for size in shape) for shape in shown)
    return f"{'attention' if kind == 'attention' else name} {sizes}"


def _result(name: str, shapes: Sequence[Any]) -> Sequence[int] | None:
    """Shape of the result, from those of the arguments."""
    if name in ("mm", "bmm", "matmul", "_int_mm", "_scaled_mm"):
        return [*shapes[0][:-1], shapes[1][-1]]
    if name in ("addmm", "baddbmm"):
        return [*shapes[1][:-1], shapes[2][-1]]
    if name == "linear":
        return [*shapes[0][:-1], shapes[1][0]]
    if name == "mv":
        return [shapes[0][0]]
    if name.startswith("_scaled_dot_product"):
        return [*shapes[0][:-1], shapes[2][-1]]
    if name == "embedding":
        return [*shapes[1], shapes[0][-1]]
    if name in GATHERS or name == "cat":
        return None
    tensors = [
        shape for shape in shapes if isinstance(shape, list) and all(isinstance(s, int) for s in shape)
    ]
    rank = max((len(shape) for shape in tensors), default=0)
    padded = [[1] * (rank - len(shape)) + shape for shape in tensors]
    return [max(sizes) for sizes in zip(*padded, strict=True)] if rank else None
