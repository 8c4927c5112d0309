"""What single operators of torch compute and move, from the shapes of their arguments.

Formulas are our own, from the definition of each operator: nothing here asks torch for a count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from roofline.operators import FLOP_PER_ELEMENT

Shape = Sequence[int]


def _product(a: Shape, b: Shape) -> int:
    """(..., m, k) by (..., k, n)."""
    return 2 * math.prod(a) * b[-1]


def _convolution(x: Shape, weight: Shape, out: Shape, transposed: bool) -> int:
    """Each output element (input element where transposed) meets the whole filter of its group."""
    return 2 * math.prod(x if transposed else out) * math.prod(weight[1:])


def _attention(query: Shape, key: Shape, value: Shape) -> int:
    """Scores and their product with the values, the whole square whatever the mask."""
    batch, heads, queries, width = query
    return 2 * batch * heads * queries * key[-2] * (width + value[-1])


PRODUCTS: Mapping[str, Callable[[list[Any], Shape], int]] = {
    "mm": lambda a, out: _product(a[0], a[1]),
    "bmm": lambda a, out: _product(a[0], a[1]),
    "addmm": lambda a, out: _product(a[1], a[2]),
    "baddbmm": lambda a, out: _product(a[1], a[2]),
    "matmul": lambda a, out: 2 * math.prod(out) * a[0][-1],
    "linear": lambda a, out: 2 * math.prod(out) * a[0][-1],
    "mv": lambda a, out: 2 * math.prod(a[0]),
    "dot": lambda a, out: 2 * math.prod(a[0]),
    "addmv": lambda a, out: 2 * math.prod(a[1]),
    "_scaled_mm": lambda a, out: _product(a[0], a[1]),
    "_int_mm": lambda a, out: _product(a[0], a[1]),
    "_grouped_mm": lambda a, out: 2 * math.prod(a[0]) * a[1][-1],
    "convolution": lambda a, out: _convolution(a[0], a[1], out, bool(a[6])),
    "_convolution": lambda a, out: _convolution(a[0], a[1], out, bool(a[6])),
    "convolution_backward": lambda a, out: (
        _convolution(a[1], a[2], a[0], bool(a[7])) * sum(bool(wanted) for wanted in a[-1][:2])
    ),
}
FORWARD_ATTENTION = (
    "scaled_dot_product_attention",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
)
BACKWARD_ATTENTION = tuple(f"{name}_backward" for name in FORWARD_ATTENTION[1:])

# Of a result's element, where it is not one; norms and softmax are called by other names in torch.
_EACH = {
    **{name: FLOP_PER_ELEMENT[name] for name in ("relu", "silu", "gelu")},
    "native_layer_norm": FLOP_PER_ELEMENT["layer"],
    "native_group_norm": FLOP_PER_ELEMENT["layer"],
    "native_batch_norm": FLOP_PER_ELEMENT["layer"],
    "_fused_rms_norm": FLOP_PER_ELEMENT["rms"],
    "rms_norm": FLOP_PER_ELEMENT["rms"],
    "layer_norm": FLOP_PER_ELEMENT["layer"],
    "_softmax": FLOP_PER_ELEMENT["softmax"],
    "_safe_softmax": FLOP_PER_ELEMENT["softmax"],
    "_log_softmax": FLOP_PER_ELEMENT["softmax"],
    "softmax": FLOP_PER_ELEMENT["softmax"],
}
_MOVED = {
    *(
        "_to_copy",
        "to",
        "clone",
        "copy",
        "cat",
        "stack",
        "contiguous",
        "where",
        "repeat",
        "roll",
        "flip",
        "pad",
    ),
    *("constant_pad_nd", "masked_fill", "fill", "zero", "arange", "full", "zeros", "ones", "full_like"),
    *("zeros_like", "ones_like", "tril", "triu", "new_zeros", "new_ones", "new_full", "scalar_tensor"),
    *("repeat_interleave", "im2col", "eye", "bernoulli", "normal", "uniform", "linspace"),
}
# Read by index: what counts is what is picked, not the table.
GATHERS = {"embedding": 1, "index": 1, "gather": 2, "index_select": 2, "take": 1}
SCATTERS = ("index_put", "index_copy", "scatter", "index_add", "scatter_add", "_unsafe_index_put")
NOT_LAUNCHED = {
    *("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_unsafe_view", "detach"),
    *("lift_fresh", "lift_fresh_copy", "_local_scalar_dense", "is_same_size", "resize", "set", "alias"),
    *(
        "sym_size",
        "sym_stride",
        "sym_numel",
        "_assert_async",
        "_assert_scalar",
        "_has_compatible_shallow_copy_type",
    ),
}
_REDUCTIONS = {
    *("sum", "mean", "amax", "amin", "max", "min", "var", "var_mean", "std", "norm", "linalg_vector_norm"),
    *("prod", "cumsum", "argmax", "argmin", "any", "all", "logsumexp", "cumprod", "topk", "sort"),
}


def base_name(name: str) -> str:
    """`aten::add_`, `aten.add.Tensor` and `add` are all "add"."""
    short = name.replace("::", ".").removeprefix("aten.").partition(".")[0]
    return short[:-1] if short.endswith("_") and not short.endswith("__") else short


def product_flop(name: str, shapes: list[Any], out: Shape) -> int | None:
    """FLOP of a matrix product, a convolution or an attention; None for every other operator.

    Parameters
    ----------
    name
        As `base_name` gives it.
    shapes
        Shape of each positional argument that is a tensor, the argument itself otherwise.
    out
        Shape of the first result.
    """
    if name in PRODUCTS:
        return PRODUCTS[name](shapes, out)
    if name in FORWARD_ATTENTION:
        return _attention(shapes[0], shapes[1], shapes[2])
    if name in BACKWARD_ATTENTION:  # the scores again, then four products more
        return _attention(shapes[1], shapes[2], shapes[3]) * 5 // 2
    return None


def vector_flop(name: str, inputs: Sequence[int], out: int) -> int:
    """FLOP of an operator without a matrix product, by convention; `inputs` and `out` in elements."""
    if name in _MOVED or name in GATHERS or name in SCATTERS:
        return 0
    if name in _REDUCTIONS:
        return max(inputs, default=out)
    return _EACH.get(name, 1) * out


def kind_of(name: str) -> str:
    """The kind that decides the peak: matmul, attention, gather or vector."""
    if name in PRODUCTS:
        return "matmul"
    if name in FORWARD_ATTENTION or name in BACKWARD_ATTENTION:
        return "attention"
    return "gather" if name in GATHERS else "vector"
