"""The operators of a mixture of experts, whose weights are read as far as tokens are expected to use them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from roofline import operators as op
from roofline.dtypes import stored_bytes
from roofline.operators import Operator
from roofline.shapes import Experts, ModelShape
from roofline.work import Pass


def experts(shape: ModelShape, work: Pass, mixture: Experts) -> Iterator[Operator]:
    """Router, the experts' gated MLP as grouped products, their weighted sum, and the shared expert."""
    rows = work.tokens * mixture.active
    # The router is not quantized: it is small, and its ties decide which experts run.
    yield op.matmul("router", work.tokens, mixture.count, shape.hidden, dtype=work.dtype)
    for name in ("expert_gate_proj", "expert_up_proj"):
        yield _grouped(work, mixture, name, rows, mixture.intermediate, shape.hidden)
    elements = rows * mixture.intermediate
    form = shape.family.activation
    yield op.activation("activation", elements, form=form, gated=True, dtype=work.dtype)
    yield _grouped(work, mixture, "expert_down_proj", rows, shape.hidden, mixture.intermediate)
    yield _combine(shape, work, mixture)
    if mixture.shared:
        yield from _shared(shape, work, mixture.shared)


def _grouped(work: Pass, mixture: Experts, name: str, rows: int, n: int, k: int) -> Operator:
    """`rows` rows spread over the experts: the products of a dense matrix, the weights of those touched."""
    one = op.matmul(name, rows, n, k, dtype=work.dtype, weight_dtype=work.weight_dtype)
    used = mixture.count if work.every_expert else mixture.touched(work.tokens)
    weights = round(used * n * k)
    more = stored_bytes(weights, work.weight_dtype) - stored_bytes(n * k, work.weight_dtype)
    return replace(one, bytes=one.bytes + more, weights=weights)


def _combine(shape: ModelShape, work: Pass, mixture: Experts) -> Operator:
    """Of each token: its experts' results times their shares, added up."""
    out = work.tokens * shape.hidden
    moved = stored_bytes(out * mixture.active, work.dtype) + stored_bytes(out, work.dtype)
    return Operator("expert_combine", "vector", 1, 2 * out * mixture.active, moved, 0, (out,))


def _shared(shape: ModelShape, work: Pass, width: int) -> Iterator[Operator]:
    def product(name: str, n: int, k: int) -> Operator:
        return op.matmul(name, work.tokens, n, k, dtype=work.dtype, weight_dtype=work.weight_dtype)

    for name in ("shared_gate_proj", "shared_up_proj"):
        yield product(name, width, shape.hidden)
    form = shape.family.activation
    yield op.activation("shared_activation", work.tokens * width, form=form, gated=True, dtype=work.dtype)
    yield product("shared_down_proj", shape.hidden, width)
    if shape.family.shared_gate:
        yield op.matmul("shared_gate", work.tokens, 1, shape.hidden, dtype=work.dtype)
