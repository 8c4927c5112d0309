"""The audit of tensors alone, where there is no module to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mfi_command import BadInput, require
from stable_ops.audit.formats import Accumulator, read_formats
from stable_ops.audit.report import AuditReport


def audit_tensors(
    tensors: Mapping[str, Any],
    *,
    formats: Sequence[str] = ("fp16", "bf16"),
    accumulator: Accumulator = "fp32",
) -> AuditReport:
    """Predict what narrow formats would do to stored tensors and to sums along their rows.

    Parameters
    ----------
    tensors : mapping of names to numpy arrays or torch tensors, any shape
        float16, bfloat16, float32, float64 or whole numbers; read as float32. A number beyond float32 counts
        as infinite. Tensors of truth values or text are left out.
    formats, accumulator
        As in `audit`.

    Returns
    -------
    AuditReport
        `where` is the name of the tensor. `op` is "store" for a tensor that does not fit the format; "var"
        for rows (of the last axis, at least 8 long, of tensors with two or more axes) that keep less than
        half of their digits once their mean is taken out, as every norm does; "sum" for a running sum of rows
        in the format itself (accumulator "same").

    Notes
    -----
    The rules of `audit`; nothing is known about what the tensors are for. Weights are fine input: rows of a
    weight with a large mean are rare. Vectors are judged as stored only, so that the weight of a norm (near 1
    throughout) is not accused. Cost O(1) beside one pass for the maximum.

    Raises
    ------
    BadInput
        Unknown formats, no torch, no numbers, NaN.

    Examples
    --------
    >>> import numpy as np
    >>> found = audit_tensors({"x": np.array([1e5, 1.0]), "y": np.ones(3)}).hazards
    >>> [(h.where, h.op, h.kind, h.format, h.safe_dtype) for h in found]
    [('x', 'store', 'overflow', 'fp16', 'bf16')]
    """
    torch = require("torch", extra="torch", distribution="mfi-stable-ops")
    chosen = read_formats(formats, accumulator)
    from stable_ops.audit.operands import Operands
    from stable_ops.audit.recorder import Recorder

    recorder = Recorder(chosen, same_accumulator=accumulator == "same")
    with torch.no_grad(), np.errstate(all="ignore"):
        for name in tensors:
            values = _read(name, tensors[name], torch)
            if values is None or not values.numel():
                continue
            recorder.operations += 1
            recorder.path[-1] = name
            infinite = bool(values.isinf().any())
            recorder.judge("store", name, values, Operands("store"), (), grows=infinite)
            if values.ndim >= 2 and values.shape[-1] >= 8 and not infinite:
                rows = recorder.sampler.rows(values, [-1])
                for op in ("var", "sum") if accumulator == "same" else ("var",):
                    recorder.judge_rows(op, name, Operands(op, rows=rows))
    if not recorder.operations:
        raise BadInput("there is no tensor of numbers: pass float16, bfloat16, float32 or float64")
    return recorder.report()


def _read(name: str, values: Any, torch: Any) -> Any:
    """As a float32 tensor, or None for what holds no numbers."""
    if not isinstance(values, torch.Tensor):
        array = np.asarray(values)
        if (
            array.dtype.kind not in "iuf"
            and array.dtype.name != "bfloat16"
            and "float8" not in array.dtype.name
        ):
            return None
        values = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    values = values.detach().float()
    if bool(values.isnan().any()):
        raise BadInput(f"{name} holds NaN: an audit predicts from numbers, find where the NaN was made first")
    return values
