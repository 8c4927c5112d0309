"""Measured error of every operator on a CPU, ours and torch's, beside the a-priori bound.

    cd packages/stable-ops/benchmarks
    python errors.py --output results/errors.json   # measures; half a minute to two
    python errors.py --pages ../../../docs/tools/stable-ops   # accuracy.md and pitfalls.md, from that file

Operator x dtype x class of inputs. Errors are in units in the last place of the dtype against arithmetic of
64 bits or more, written apart from the operators. `pitfalls.py` adds what the usual formulas do,
`families.py` linear algebra, sampling and the rest.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import families
import numpy as np
import pitfalls
import torch
from accuracy_page import pitfalls_page, render
from numpy.typing import NDArray
from references import exact_gelu, exact_gelu_tanh, exact_hf, torch_gemma, torch_hf

import stable_ops
from stable_ops.bench.cpu import _device as device_name
from stable_ops.fp import get_format, ulp
from stable_ops.testing import error_ulp, misrounded
from stable_ops.testing.inputs import KINDS, MASKED_KINDS, draw
from stable_ops.testing.oracles import truth

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "errors.json"
DTYPES = ("float16", "bfloat16", "float32", "float64")
SHAPES = ((64, 1024), (1, 65_537))
Array = NDArray[Any]
Long = NDArray[np.longdouble]
Arrays = tuple[Array, ...]


@dataclass(frozen=True)
class Op:
    """One operator: ours, torch's, the truth before rounding, and the a-priori bound on the error.

    Attributes
    ----------
    arguments : tuple of str
        "x" a batch of rows, "weight" and "bias" one row, "up" another batch.
    before : callable
        before(y, x) is the bound on the error before the rounding, in the units of y, for the exact result y.
    longer : callable
        The same for float64 inputs, whose result is not rounded from anything longer.
    masks : bool
        Whether -inf and NaN are among its inputs.
    floor : float
        Smallest magnitude whose ulp measures an error: 1 for layer_norm, whose error is relative to the row.
    """

    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    exact: Callable[..., Long]
    arguments: tuple[str, ...]
    before: Callable[[Long, Long], Long]
    longer: Callable[[Long, Long], Long]
    masks: bool = False
    floor: float = 0.0


def _relative(parts: float) -> Callable[[Long, Long], Long]:
    return lambda y, _x: np.abs(y) * parts * 2.0**-53


def _of_row(parts: float) -> Callable[[Long, Long], Long]:
    """A relative error that grows with the logarithm of the length of a row."""
    return lambda y, x: np.abs(y) * (parts + np.log2(max(1, x.shape[-1]))) * 2.0**-53


def _shifted(parts: float) -> Callable[[Long, Long], Long]:
    """The same, and what x - max loses in float64."""
    row = _of_row(parts)

    def bound(y: Long, x: Long) -> Long:
        with np.errstate(invalid="ignore"):
            far = np.abs(x - x.max(axis=-1, keepdims=True))
        return row(y, x) + np.where(np.isfinite(far), far, 0.0) * np.abs(y) * 2.0**-53

    return bound


def _log_shifted(y: Long, x: Long) -> Long:
    """What the terms of the sum below its maximum lose in float64, in the mean over them."""
    with np.errstate(invalid="ignore", divide="ignore"):
        far = x.max(axis=-1, keepdims=True) - x
        weights = np.where(far > 0, np.exp(-far), 0.0)
        lost = np.nansum(weights * np.where(np.isfinite(far), far, 0.0), axis=-1, keepdims=True)
        mean = lost / np.maximum(weights.sum(axis=-1, keepdims=True), np.finfo(np.longdouble).tiny)
    return _of_row(6)(y, x) + np.nan_to_num(mean) * np.abs(y) * 2.0**-53


def _log_sum(y: Long, x: Long) -> Long:
    n = x.shape[-1]
    peak = np.abs(x.max(axis=-1))
    return (6 + np.log2(n)) * 2.0**-53 * np.maximum(np.where(np.isfinite(peak), peak, 0.0), np.log(n))


def _affine(y: Long, x: Long) -> Long:
    """Beside the result, the weight counts: the error of the mean is relative to the spread of the row."""
    n = x.shape[-1]
    weight, bias = (np.abs(_fixed(name, n).astype(np.longdouble)) for name in ("weight", "bias"))
    return (8 + np.log2(n)) * 2.0**-53 * (np.abs(y) + weight + 2 * bias)


OPS: dict[str, Op] = {
    "softmax": Op(
        stable_ops.softmax, lambda x: torch.softmax(x, -1), lambda x: truth("softmax", x), ("x",),
        _of_row(6), _shifted(6), masks=True,
    ),
    "log_softmax": Op(
        stable_ops.log_softmax, lambda x: torch.log_softmax(x, -1), lambda x: truth("log_softmax", x), ("x",),
        _of_row(6), _log_shifted, masks=True,
    ),
    "logsumexp": Op(
        stable_ops.logsumexp, lambda x: torch.logsumexp(x, -1), lambda x: truth("logsumexp", x), ("x",),
        _log_sum, _log_sum, masks=True,
    ),
    "layer_norm": Op(
        stable_ops.layer_norm, lambda x, w, b: torch.nn.functional.layer_norm(x, x.shape[-1:], w, b, 1e-5),
        lambda x, w, b: truth("layer_norm", x, w, b), ("x", "weight", "bias"), _affine, _affine, floor=1.0,
    ),
    "rms_norm": Op(
        stable_ops.rms_norm, lambda x, w: torch.nn.functional.rms_norm(x, x.shape[-1:], w, 1e-6),
        lambda x, w: truth("rms_norm", x, w), ("x", "weight"), _of_row(6), _of_row(6),
    ),
    "rms_norm, hf": Op(
        lambda x, w: stable_ops.rms_norm(x, w, form="hf"), torch_hf, exact_hf, ("x", "weight"),
        _relative(1), _of_row(8),
    ),
    "rms_norm, gemma": Op(
        lambda x, w: stable_ops.rms_norm(x, w, form="gemma"), torch_gemma,
        lambda x, w: truth("rms_norm", x, 1 + w.astype(np.longdouble)), ("x", "weight"),
        _of_row(7), _of_row(7),
    ),
    "gelu": Op(
        stable_ops.gelu, torch.nn.functional.gelu, exact_gelu, ("x",), _relative(500), _relative(500),
    ),
    "gelu, tanh": Op(
        lambda x: stable_ops.gelu(x, approximate="tanh"),
        lambda x: torch.nn.functional.gelu(x, approximate="tanh"), exact_gelu_tanh, ("x",),
        lambda y, x: _tanh_bound(y, x), lambda y, x: _tanh_bound(y, x),
    ),
    "silu": Op(
        stable_ops.silu, torch.nn.functional.silu, lambda x: truth("silu", x), ("x",),
        _relative(4), _relative(4),
    ),
    "swiglu": Op(
        stable_ops.swiglu, lambda x, up: torch.nn.functional.silu(x) * up,
        lambda x, up: truth("swiglu", x, up), ("x", "up"), _relative(5), _relative(5),
    ),
}  # fmt: skip


def _tanh_bound(y: Long, x: Long) -> Long:
    u = np.sqrt(2 / np.pi) * np.abs(x + 0.044715 * x**3)
    return np.abs(y) * (12 * u + 4) * 2.0**-53


@dataclass(frozen=True)
class Row:
    """What was measured for one operator, dtype and class of inputs.

    Attributes
    ----------
    max_ulp, misrounded : float
        Largest error, and the share of outputs that are not the nearest number (null for float64).
    bound_ulp : float
        The a-priori bound of the element with the largest error.
    of_bound : float
        The largest error over its own bound, of all elements.
    bits_of_torch_form : int
        Outputs of our form for tensors whose bits are not those of the form for arrays.
    """

    op: str
    dtype: str
    inputs: str
    outputs: int
    max_ulp: float
    misrounded: float | None
    bound_ulp: float
    of_bound: float
    bits_of_torch_form: int
    torch_max_ulp: float
    torch_misrounded: float | None


def numpy_type(dtype: str) -> np.dtype[Any]:
    if dtype == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(dtype)


def to_torch(x: Array, dtype: str) -> Any:
    wide = x.astype(np.float32) if dtype == "bfloat16" else x
    return torch.from_numpy(wide).to(getattr(torch, dtype))


def to_numpy(y: Any, dtype: str) -> Array:
    wide = y.float() if dtype == "bfloat16" else y
    return np.asarray(wide.numpy()).astype(numpy_type(dtype))


def _fixed(name: str, n: int) -> Array:
    """A weight around 1 or a bias around 0, the same for every class; representable in every dtype."""
    drawn = np.random.default_rng(len(name)).standard_normal(n) * 0.5 + (name == "weight")
    return np.asarray(np.ldexp(np.round(np.ldexp(drawn, 6)), -6))


def arguments(op: Op, kind: str, shape: tuple[int, int], dtype: str) -> Arrays:
    """Stored operands."""
    found = []
    for name in op.arguments:
        if name in ("x", "up"):
            values = draw(kind if name == "x" else "normal", len(kind) + (name == "up"), shape)
        else:
            values = _fixed(name, shape[1])
        with np.errstate(over="ignore", invalid="ignore"):
            found.append(values.astype(numpy_type(dtype)))
    return tuple(found)


def measure_case(op: Op, dtype: str, operands: Arrays) -> dict[str, Any]:
    """Errors of one call, as sums and maxima that can be joined with those of others."""
    wide = [a.astype(np.float64).astype(np.longdouble) for a in operands]
    with np.errstate(all="ignore"):
        exact = op.exact(*wide, get_format(dtype)) if op.exact is exact_hf else op.exact(*wide)
        units = ulp(np.maximum(np.abs(exact), op.floor).astype(np.float64), dtype)
        if dtype == "float64":
            # A factor that is a subnormal number has lost digits before it is multiplied.
            scale = np.maximum(1.0, np.abs(wide[0])) if exact.shape == wide[0].shape else 1.0
            scale = scale * np.maximum(1.0, np.abs(wide[-1])) if "up" in op.arguments else scale
            bound = (op.longer(exact, wide[0]) + scale * 2.0**-1073) / units
        else:
            bound = 0.5 + op.before(exact, wide[0]) / units
        ours = np.asarray(op.ours(*operands))
        tensors = [to_torch(a, dtype) for a in operands]
        theirs = to_numpy(op.theirs(*tensors), dtype)
        same = to_numpy(op.ours(*tensors), dtype)
        error, other = (error_ulp(y, exact, floor=op.floor) for y in (ours, theirs))
        # Where the truth lies so close to the border of overflow that 64 bits cannot tell, both are right.
        error = np.where(np.isinf(error) & ~misrounded(ours, exact), 0.5, error)
        share = np.where(error > 0, error / bound, 0.0)
    narrow = dtype != "float64"
    return {
        "outputs": exact.size,
        "max_ulp": float(error.max()),
        "wrong": int(misrounded(ours, exact).sum()) if narrow else 0,
        "bound_ulp": float(np.broadcast_to(bound, error.shape).flat[int(error.argmax())]),
        "of_bound": float(np.max(share, initial=0.0)),
        "bits": int((~((ours == same) | (np.isnan(ours) & np.isnan(same)))).sum()),
        "torch_max_ulp": float(other.max()),
        "torch_wrong": int(misrounded(theirs, exact).sum()) if narrow else 0,
    }


def shapes_of(op: Op) -> tuple[tuple[int, int], ...]:
    # Ball arithmetic takes 10 microseconds a number, and an elementwise operator has no rows.
    return SHAPES if op.exact not in (exact_gelu, exact_gelu_tanh) else ((8, 1024),)


def measure_row(name: str, dtype: str, kind: str) -> Row:
    op = OPS[name]
    cases = [measure_case(op, dtype, arguments(op, kind, shape, dtype)) for shape in shapes_of(op)]
    outputs = sum(c["outputs"] for c in cases)

    def largest(key: str) -> float:
        return max(c[key] for c in cases)

    worst = max(cases, key=lambda case: case["max_ulp"])

    def share(key: str) -> float | None:
        return None if dtype == "float64" else sum(c[key] for c in cases) / outputs

    return Row(
        op=name, dtype=dtype, inputs=kind, outputs=outputs, max_ulp=largest("max_ulp"),
        misrounded=share("wrong"), bound_ulp=worst["bound_ulp"], of_bound=largest("of_bound"),
        bits_of_torch_form=sum(c["bits"] for c in cases), torch_max_ulp=largest("torch_max_ulp"),
        torch_misrounded=share("torch_wrong"),
    )  # fmt: skip


def rows() -> Iterator[Row]:
    """Every operator, dtype and class of inputs."""
    for name, op in OPS.items():
        for dtype in DTYPES:
            for kind in (*KINDS, *(MASKED_KINDS if op.masks else ())):
                yield measure_row(name, dtype, kind)


def finite(value: Any) -> Any:
    """JSON has no infinity: the word stands for it."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="measure, and write the numbers as JSON")
    parser.add_argument("--pages", type=Path, help=f"write the pages of {RESULTS.name} into this folder")
    options = parser.parse_args()
    if options.pages:
        results = json.loads(RESULTS.read_text(encoding="utf-8"))
        (options.pages / "accuracy.md").write_text(render(results), encoding="utf-8")
        (options.pages / "pitfalls.md").write_text(pitfalls_page(results), encoding="utf-8")
        return
    torch.set_num_threads(1)
    results = {
        "device": device_name(),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "command": "python packages/stable-ops/benchmarks/errors.py --output FILE",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__.split("+")[0],
        "machine": platform.machine(),
        "pitfalls": pitfalls.measure(),
        "families": families.measure(),
        "rows": [asdict(row) for row in rows()],
    }
    text = json.dumps(finite(results), indent=1) + "\n"
    if options.output:
        options.output.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
