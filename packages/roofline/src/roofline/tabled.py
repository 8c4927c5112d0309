"""A kernel from an entry of a table: its FLOP and bytes, or its kind and sizes."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping
from typing import Any

from mfi_command import BadInput
from roofline import operators as op
from roofline.dtypes import dtype_name
from roofline.kernels import Kernel
from roofline.operators import Operator

Sizes = Mapping[str, int]
_Make = Callable[[str, Sizes, str], Operator]
# kind -> (names of its sizes, the operator). Optional sizes end in a question mark.
KINDS: Mapping[str, tuple[tuple[str, ...], _Make]] = {
    "matmul": (("m", "n", "k"), lambda name, s, d: op.matmul(name, s["m"], s["n"], s["k"], dtype=d)),
    "attention": (
        ("batch", "queries", "keys", "heads", "kv_heads", "head_dim"),
        lambda name, s, d: op.attention(name, *(s[key] for key in KINDS["attention"][0]), dtype=d),
    ),
    "softmax": (("rows", "width"), lambda name, s, d: op.softmax(name, s["rows"], s["width"], dtype=d)),
    "layer_norm": (
        ("rows", "width"),
        lambda name, s, d: op.norm(name, s["rows"], s["width"], form="layer", dtype=d),
    ),
    "rms_norm": (
        ("rows", "width"),
        lambda name, s, d: op.norm(name, s["rows"], s["width"], form="rms", dtype=d),
    ),
    "gelu": (
        ("rows", "width"),
        lambda name, s, d: op.activation(name, s["rows"] * s["width"], form="gelu", gated=False, dtype=d),
    ),
    "swiglu": (
        ("rows", "width"),
        lambda name, s, d: op.activation(name, s["rows"] * s["width"], form="silu", gated=True, dtype=d),
    ),
    "add": (
        ("rows", "width"),
        lambda name, s, d: op.vector(name, s["rows"] * s["width"], flop_per_element=1, dtype=d, inputs=2),
    ),
    "embedding": (("rows", "width"), lambda name, s, d: op.gather(name, s["rows"], s["width"], dtype=d)),
}
_LARGEST = 1e30  # FLOP or bytes; more is a slip


def kernel_from(entry: Mapping[str, Any], *, where: str, dtype: str) -> Kernel:
    """A `Kernel` from `name`, and `flop` and `bytes` or `kind` and its sizes; `dtype`, `count`, `time_s` may
    be there.

    Raises
    ------
    BadInput
        Neither pair is there, or a number that cannot be used.
    """
    short = dtype_name(str(entry.get("dtype") or dtype))
    count = _whole(where, "count", entry.get("count") or 1)
    kind = str(entry.get("kind") or "")
    name = str(entry.get("name") or kind or "kernel")
    if kind in KINDS:
        names, make = KINDS[kind]
        sizes = {key: _whole(where, key, entry.get(key)) for key in names}
        operator = make(name, sizes, short).repeated(count)
    elif entry.get("flop") is not None and entry.get("bytes") is not None:
        flop, moved = (_number(where, key, entry[key]) for key in ("flop", "bytes"))
        if not moved:
            raise BadInput(f"{where}: bytes is 0, expected more: a kernel that moves nothing has no place")
        group = kind if kind in ("vector", "gather") else "matmul"
        operator = Operator(name, group, count, round(flop) * count, round(moved) * count)
    else:
        raise BadInput(f"{where}: expected flop and bytes, or kind with its sizes; kinds: {', '.join(KINDS)}")
    given = entry.get("time_s")
    measured = None if given in (None, "") else _number(where, "time_s", given)
    if measured == 0:
        raise BadInput(f"{where}: time_s is 0, expected seconds")
    return Kernel(operator, short, None if measured is None else measured * count)


def read_csv(text: str, where: str, dtype: str) -> tuple[Kernel, ...]:
    """Kernels of a CSV table whose first line names the columns."""
    rows = csv.DictReader(io.StringIO(text))
    known = {"flop", "bytes"} <= set(rows.fieldnames or ()) or "kind" in (rows.fieldnames or ())
    if not known:
        raise BadInput(f"{where}: expected columns name, flop, bytes (or kind and sizes), or the CSV of ncu")
    return tuple(
        kernel_from(
            {key: value for key, value in row.items() if key and value not in (None, "")},
            where=f"{where}, line {number}",
            dtype=dtype,
        )
        for number, row in enumerate(rows, 2)
    )


def _number(where: str, key: str, value: object) -> float:
    try:
        number = float(value) if not isinstance(value, bool) else math.nan  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 <= number <= _LARGEST:
        raise BadInput(f"{where}: {key} is {value!r}, expected a number from 0 to {_LARGEST:g}")
    return number


def _whole(where: str, key: str, value: object) -> int:
    if value is None:
        raise BadInput(f"{where}: {key} is missing")
    number = _number(where, key, value)
    if number < 1 or number != int(number):
        raise BadInput(f"{where}: {key} is {value!r}, expected a positive whole number")
    return int(number)
