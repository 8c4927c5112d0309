"""One forward pass of a decoder-only transformer as a list of operators."""

from __future__ import annotations

from collections.abc import Iterator

from roofline import operators as op
from roofline.dtypes import stored_bytes
from roofline.mixtures import experts
from roofline.operators import Operator
from roofline.shapes import ModelShape
from roofline.work import Pass


def forward(shape: ModelShape, work: Pass) -> list[Operator]:
    """Operators of the pass in order, the ones that every layer runs counted once with `count` = layers."""
    return [*_entry(shape, work), *_layers(shape, work), *_exit(shape, work)]


def parameters(shape: ModelShape) -> int:
    """Parameters of the model, a tied head counted once."""
    work = Pass(1, 1, 1, "bf16", "bf16", "bf16", every_expert=True)
    total = sum(operator.weights for operator in forward(shape, work))
    total += shape.vocabulary * shape.embedding + shape.position_rows * shape.hidden
    return total - (shape.vocabulary * shape.embedding if shape.tied else 0)


def kv_cache_bytes(shape: ModelShape, *, batch: int, sequence: int, kv_dtype: str) -> int:
    """Bytes of the key-value cache, 2 * layers * batch * positions * kv_width; a window caps positions."""
    positions = sum(
        count * (sequence if window is None else min(window, sequence))
        for window, count in shape.windows.items()
    )
    return 2 * stored_bytes(batch * positions * shape.kv_width, kv_dtype)


def _matmul(work: Pass, name: str, n: int, k: int, *, bias: bool = False, m: int | None = None) -> Operator:
    rows = work.tokens if m is None else m
    return op.matmul(name, rows, n, k, dtype=work.dtype, weight_dtype=work.weight_dtype, bias=bias)


def _norm(shape: ModelShape, work: Pass, name: str) -> Operator:
    # Norm weights stay in the dtype of the activations when the matrices are quantized.
    return op.norm(name, work.tokens, shape.hidden, form=shape.family.norm, dtype=work.dtype)


def _entry(shape: ModelShape, work: Pass) -> Iterator[Operator]:
    yield op.gather("embedding", work.tokens, shape.embedding, dtype=work.dtype)
    if shape.embedding != shape.hidden:
        yield _matmul(work, "project_in", shape.hidden, shape.embedding)
    if shape.position_rows:
        yield op.gather("position_embedding", work.tokens, shape.hidden, dtype=work.dtype)
        yield _add(shape, work, "position_add")


def _add(shape: ModelShape, work: Pass, name: str) -> Operator:
    return op.vector(name, work.tokens * shape.hidden, flop_per_element=1, dtype=work.dtype, inputs=2)


def _layers(shape: ModelShape, work: Pass) -> Iterator[Operator]:
    same = [*_norms(shape, work), *_projections(shape, work), *_positions(shape, work)]
    for operator in same:
        yield operator.repeated(shape.layers)
    for window, count in shape.windows.items():
        name = (
            "attention" if len(shape.windows) == 1 else f"attention_{'full' if window is None else 'window'}"
        )
        yield op.attention(
            name if len(shape.windows) > 1 else "attention",
            work.batch,
            work.queries,
            work.keys,
            shape.heads,
            shape.kv_heads,
            shape.head_dim,
            dtype=work.dtype,
            kv_dtype=work.kv_dtype,
            window=window,
            causal=work.causal_skip,
        ).repeated(count)
    yield _matmul(work, "o_proj", shape.hidden, shape.query_width, bias=shape.o_bias).repeated(shape.layers)
    dense = shape.layers - (shape.experts.layers if shape.experts else 0)
    if dense:
        for operator in _mlp(shape, work):
            yield operator.repeated(dense)
    if shape.experts:
        for operator in experts(shape, work, shape.experts):
            yield operator.repeated(shape.experts.layers)
    yield _add(shape, work, "residual_add").repeated(2 * shape.layers)


def _norms(shape: ModelShape, work: Pass) -> Iterator[Operator]:
    yield _norm(shape, work, "norm").repeated(shape.family.norms_per_layer)
    if shape.family.qk_norm:
        for name, heads in (("q_norm", shape.heads), ("k_norm", shape.kv_heads)):
            yield op.norm(name, work.tokens * heads, shape.head_dim, form="rms", dtype=work.dtype)


def _projections(shape: ModelShape, work: Pass) -> Iterator[Operator]:
    if shape.family.fused_qkv or work.fused:
        width = shape.query_width + 2 * shape.kv_width
        yield _matmul(work, "qkv_proj", width, shape.hidden, bias=shape.qkv_bias)
        return
    yield _matmul(work, "q_proj", shape.query_width, shape.hidden, bias=shape.qkv_bias)
    for name in ("k_proj", "v_proj"):
        yield _matmul(work, name, shape.kv_width, shape.hidden, bias=shape.qkv_bias)


def _positions(shape: ModelShape, work: Pass) -> Iterator[Operator]:
    if shape.family.rotary:
        turned = int(work.tokens * (shape.query_width + shape.kv_width) * shape.rotary_fraction)
        each = op.FLOP_PER_ELEMENT["rotary"]
        yield op.vector("rotary", turned, flop_per_element=each, dtype=work.dtype, steps="rotary")
    written = 2 * work.tokens * shape.kv_width
    yield op.vector("kv_write", written, flop_per_element=0, dtype=work.dtype, output_dtype=work.kv_dtype)


def _mlp(shape: ModelShape, work: Pass) -> Iterator[Operator]:
    family, wide = shape.family, shape.intermediate
    if family.gated and (family.fused_gate_up or work.fused):
        yield _matmul(work, "gate_up_proj", 2 * wide, shape.hidden, bias=shape.mlp_bias)
    else:
        for name in ("gate_proj", "up_proj") if family.gated else ("up_proj",):
            yield _matmul(work, name, wide, shape.hidden, bias=shape.mlp_bias)
    elements = work.tokens * wide
    yield op.activation("activation", elements, form=family.activation, gated=family.gated, dtype=work.dtype)
    yield _matmul(work, "down_proj", shape.hidden, wide, bias=shape.mlp_bias)


def _exit(shape: ModelShape, work: Pass) -> Iterator[Operator]:
    if shape.final_norm:
        yield _norm(shape, work, "final_norm")
    if shape.embedding != shape.hidden:
        yield _matmul(work, "project_out", shape.embedding, shape.hidden)
    rows = work.batch if work.last_logits else work.tokens
    yield op.matmul(
        "lm_head", rows, shape.vocabulary, shape.embedding, dtype=work.dtype, bias=shape.family.head_bias
    )
