"""The audit of one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from mfi_command import BadInput, require
from stable_ops.audit.report import AuditReport
from stable_ops.fp.formats import get_format
from stable_ops.testing.target import load_function

FORMATS = ("fp8_e4m3fn", "fp8_e5m2", "fp16", "bf16")
Accumulator = Literal["fp32", "same"]


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
    the rest at a sample of 1024 values or 64 rows per operation. A tensor that is already lost is
    reported where it is made, not where it is used.

    When this is wrong: the run shows these inputs only. A cast to float32 inside a float32 model cannot
    be seen, so operations behind one are judged as if it were not there; modules whose class is named
    ...RMSNorm, and torch's rms_norm, are judged as one operation for that reason. Matrix products are
    judged by their result. Constants added (an epsilon) count as intended. Cost: one run and O(1) work an
    operation beside the maximum.

    The first audit of a process also loads parts of torch that a plain forward does not: time the second.
    Small models cost relatively more, since each operation adds a fixed time: benchmarks/audit.py.

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
    chosen = tuple(get_format(name) for name in formats)
    unknown = [f.name for f in chosen if f.name not in FORMATS]
    if unknown or not chosen:
        raise BadInput(f"format {', '.join(unknown) or 'none'} is not audited: use of {', '.join(FORMATS)}")
    if accumulator not in ("fp32", "same"):
        raise BadInput(f"accumulator {accumulator!r} is not known: use fp32 or same")
    for i, x in enumerate(inputs):
        if isinstance(x, torch.Tensor) and x.is_floating_point() and x.dtype != torch.float32:
            raise BadInput(f"input {i} is {x.dtype}: an audit starts from a float32 run, pass x.float()")
    from stable_ops.audit.recorder import record

    hazards, operations = record(function, inputs, chosen, same_accumulator=accumulator == "same")
    return AuditReport(tuple(hazards), tuple(f.name for f in chosen), operations)


def load_subject(name: str) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Import "module:object" and call it for (module, inputs); its code is run.

    The object is a function without parameters that returns a torch module (or any callable) and its
    example inputs, a tensor or a tuple.

    Raises
    ------
    BadInput
        Nothing of that name, or it does not return a pair.
    """
    factory = load_function(name)
    try:
        made = factory()
    except Exception as error:  # the factory is not ours: whatever it raises is bad input
        message = f"{type(error).__name__}: {error}".splitlines()[0]
        raise BadInput(f"{name}() fails, {message}: it must return (module, inputs)") from error
    if not (isinstance(made, tuple) and len(made) == 2 and callable(made[0])):
        raise BadInput(f"{name}() returns {type(made).__name__}: it must return (module, inputs)")
    module, inputs = made
    return module, tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
