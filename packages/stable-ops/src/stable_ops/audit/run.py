"""The audit of one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mfi_command import BadInput, require
from stable_ops.audit.formats import Accumulator, read_formats
from stable_ops.audit.report import AuditReport


def audit(
    function: Callable[..., Any],
    *inputs: Any,
    formats: Sequence[str] = ("fp16", "bf16"),
    accumulator: Accumulator = "fp32",
) -> AuditReport:
    """Run a float32 torch module once and predict what narrow formats would do to each operation.

    Parameters
    ----------
    function : torch.nn.Module or callable
        Called once with the inputs, without gradients.
    *inputs : torch.Tensor or anything
        Floating-point tensors in float32, on the CPU or a device.
    formats : sequence of str
        Of fp16, bf16, fp8_e4m3fn, fp8_e5m2.
    accumulator : {"fp32", "same"}
        What sums inside an operation (mean, norms) are kept in: float32 as torch and tensor cores do, or
        the format itself.

    Returns
    -------
    AuditReport
        Each hazard once per module, operation, kind and format, most bits lost first.

    Notes
    -----
    The model: every tensor is stored in the format, every operation rounds its result once. With p
    significant bits, a hazard is: **overflow**, the largest magnitude rounds to infinity or NaN;
    **underflow**, of the nonzero values at least 10 % become zero, or half zero or subnormal;
    **absorption**, at least a quarter of the additions a + b of whole tensors return the stored a though
    b is not zero; **cancellation**, at least a third of the results of a + b, a - b, log, or of rows of a
    norm, softmax or sum lose p/2 bits when only the operands are rounded. Overflow looks at every value,
    the rest at a sample of 1024 values or 32 rows per operation. A tensor that is already lost is
    reported where it is made, not where it is used.

    When this is wrong: the run shows these inputs only. A cast to float32 inside a float32 model cannot
    be seen, so operations behind one are judged as if it were not there; modules whose class is named
    ...RMSNorm, and torch's rms_norm, are judged as one operation for that reason, and what a run makes from
    constants alone (positions, masks, tables of sines) is left out, since models keep it in float32. Matrix
    products are judged by their result. Constants added (an epsilon) count as intended.

    Cost: one run, one pass for the maximum of each result and each parameter, and a fixed time an
    operation. That is at most three times a plain forward from about 2 ms on; below it the fixed time
    decides, of which torch's calls for each operation alone can be more than two forwards (both in
    benchmarks/audit.py). A compiled module is run uncompiled.

    Raises
    ------
    BadInput
        Unknown formats, inputs that are not float32, no torch, a function that fails.

    Examples
    --------
    >>> import torch
    >>> found = audit(lambda x: x * x, torch.tensor([300.0, 2.0]), formats=["fp16"]).hazards
    >>> [(h.op, h.kind) for h in found]
    [('mul', 'overflow')]
    """
    torch = require("torch", extra="torch", distribution="mfi-stable-ops")
    chosen = read_formats(formats, accumulator)
    for i, x in enumerate(inputs):
        if isinstance(x, torch.Tensor) and x.is_floating_point() and x.dtype != torch.float32:
            raise BadInput(f"input {i} is {x.dtype}: an audit starts from a float32 run, pass x.float()")
    from stable_ops.audit.recorder import record

    return record(function, inputs, chosen, same_accumulator=accumulator == "same")
