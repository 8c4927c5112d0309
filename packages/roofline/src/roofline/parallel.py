"""Tensor parallelism: what one of several devices holds of each layer, and what they tell each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from mfi_command import BadInput
from roofline.operators import Operator, collective
from roofline.shapes import ModelShape
from roofline.work import Pass


def shard(shape: ModelShape, devices: int) -> ModelShape:
    """The part of one of `devices`: heads, columns of the MLP (of every expert) and rows of the vocabulary.

    Key-value heads are repeated where there are fewer of them than devices. Norms and residuals are computed
    by every device.

    Raises
    ------
    BadInput
        Heads or columns cannot be divided.
    """
    if devices == 1:
        return shape
    for name, size in (("num_attention_heads", shape.heads), ("intermediate_size", shape.intermediate)):
        if size % devices:
            raise BadInput(f"tensor_parallel {devices} does not divide {name} {size}")
    if shape.kv_heads % devices and devices % shape.kv_heads:
        raise BadInput(f"tensor_parallel {devices} does not fit num_key_value_heads {shape.kv_heads}")
    mixture = shape.experts
    if mixture:
        for size in (mixture.intermediate, mixture.shared):
            if size % devices:
                raise BadInput(f"tensor_parallel {devices} does not divide an expert's width {size}")
        mixture = replace(
            mixture, intermediate=mixture.intermediate // devices, shared=mixture.shared // devices
        )
    return replace(
        shape,
        heads=shape.heads // devices,
        kv_heads=max(1, shape.kv_heads // devices),
        intermediate=shape.intermediate // devices,
        vocabulary=-(-shape.vocabulary // devices),
        experts=mixture,
    )


def collectives(shape: ModelShape, work: Pass, devices: int) -> Iterator[Operator]:
    """An all-reduce after attention and one after the MLP of every layer, and the gathering of the logits."""
    if devices == 1:
        return
    hidden = work.tokens * shape.hidden
    one = collective("all_reduce", hidden, devices, dtype=work.dtype, reduce=True)
    yield one.repeated(2 * shape.layers)
    rows = work.batch if work.last_logits else work.tokens
    yield collective("all_gather_logits", rows * shape.vocabulary, devices, dtype=work.dtype, reduce=False)
