"""Wrong layer_norm and rms_norm, in its three forms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stable_ops.testing.faults.registry import Array, fault, once, sequential_sum, twice, wide


def _normalised(x: Array, *, eps: float = 1e-5, ddof: int = 0) -> NDArray[np.float64]:
    centred = wide(x) - wide(x).mean(axis=-1, keepdims=True)
    variance = np.square(centred).sum(axis=-1, keepdims=True) / max(1, x.shape[-1] - ddof)
    return np.asarray(centred / np.sqrt(variance + eps))


@fault("layer_norm", "answers the bias only")
def layer_norm_bias_only(x: Array, weight: Array, bias: Array) -> Array:
    return np.broadcast_to(bias, x.shape).copy()


@fault("layer_norm", "eps is added outside the root")
def layer_norm_eps_outside(x: Array, weight: Array, bias: Array) -> Array:
    centred = wide(x) - wide(x).mean(axis=-1, keepdims=True)
    deviation = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True))
    return once(centred / (deviation + 1e-5) * wide(weight) + wide(bias), x)


@fault("layer_norm", "no eps")
def layer_norm_no_eps(x: Array, weight: Array, bias: Array) -> Array:
    return once(_normalised(x, eps=0.0) * wide(weight) + wide(bias), x)


@fault("layer_norm", "the variance is divided by N - 1")
def layer_norm_n_minus_1(x: Array, weight: Array, bias: Array) -> Array:
    return once(_normalised(x, ddof=1) * wide(weight) + wide(bias), x)


@fault("layer_norm", "the variance is E[x^2] - E[x]^2 in float32")
def layer_norm_one_pass(x: Array, weight: Array, bias: Array) -> Array:
    narrow = x.astype(np.float32)
    mean = narrow.mean(axis=-1, keepdims=True)
    variance = np.square(narrow).mean(axis=-1, keepdims=True) - mean * mean
    return once((narrow - mean) / np.sqrt(variance + np.float32(1e-5)) * wide(weight) + wide(bias), x)


@fault("layer_norm", "the mean is accumulated in float16")
def layer_norm_fp16_mean(x: Array, weight: Array, bias: Array) -> Array:
    centred = wide(x) - sequential_sum(x, np.float16) / x.shape[-1]
    deviation = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + 1e-5)
    return once(centred / deviation * wide(weight) + wide(bias), x)


@fault("layer_norm", "the mean is not subtracted")
def layer_norm_not_centred(x: Array, weight: Array, bias: Array) -> Array:
    deviation = np.sqrt(np.square(wide(x)).mean(axis=-1, keepdims=True) + 1e-5)
    return once(wide(x) / deviation * wide(weight) + wide(bias), x)


@fault("layer_norm", "the bias is forgotten")
def layer_norm_no_bias(x: Array, weight: Array, bias: Array) -> Array:
    return once(_normalised(x) * wide(weight), x)


@fault("layer_norm", "the weight is applied as 1 + w")
def layer_norm_one_plus_weight(x: Array, weight: Array, bias: Array) -> Array:
    return once(_normalised(x) * (1 + wide(weight)) + wide(bias), x)


@fault("layer_norm", "rounded to float32 first, then to the dtype")
def layer_norm_double_rounding(x: Array, weight: Array, bias: Array) -> Array:
    return (_normalised(x) * wide(weight) + wide(bias)).astype(np.float32).astype(x.dtype)


@fault("layer_norm", "rounded to the dtype before weight and bias")
def layer_norm_two_roundings(x: Array, weight: Array, bias: Array) -> Array:
    return once(wide(once(_normalised(x), x)) * wide(weight) + wide(bias), x)


@fault("rms_norm", "squared in the dtype: overflows from 256 on in float16")
def rms_norm_squares(x: Array, weight: Array) -> Array:
    mean_square = wide(once(np.square(wide(x)), x)).mean(axis=-1, keepdims=True)
    return once(wide(x) / np.sqrt(mean_square + 1e-6) * wide(weight), x)


@fault("rms_norm", "rounded to the dtype before the weight")
def rms_norm_two_roundings(x: Array, weight: Array) -> Array:
    root = np.sqrt(np.square(wide(x)).mean(axis=-1, keepdims=True) + 1e-6)
    return once(wide(once(wide(x) / root, x)) * wide(weight), x)


@fault("layer_norm", "the deviation is that of the first row")
def layer_norm_first_row(x: Array, weight: Array, bias: Array) -> Array:
    centred = wide(x) - wide(x).mean(axis=-1, keepdims=True)
    deviation = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True)[:1] + 1e-5)
    return once(centred / deviation * wide(weight) + wide(bias), x)


def _root(x: Array, *, eps: float = 1e-6) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(np.square(wide(x)).mean(axis=-1, keepdims=True) + eps))


def _ratio(x: Array) -> NDArray[np.float64]:
    return wide(x) / _root(x)


@fault("rms_norm", "answers zeros")
def rms_norm_zeros(x: Array, weight: Array) -> Array:
    return np.zeros_like(x)


@fault("rms_norm", "eps is added outside the root")
def rms_norm_eps_outside(x: Array, weight: Array) -> Array:
    return once(wide(x) / (_root(x, eps=0.0) + 1e-6) * wide(weight), x)


@fault("rms_norm", "no eps")
def rms_norm_no_eps(x: Array, weight: Array) -> Array:
    return once(wide(x) / _root(x, eps=0.0) * wide(weight), x)


@fault("rms_norm", "the sum of squares is divided by N - 1")
def rms_norm_n_minus_1(x: Array, weight: Array) -> Array:
    mean_square = np.square(wide(x)).sum(axis=-1, keepdims=True) / max(1, x.shape[-1] - 1)
    return once(wide(x) / np.sqrt(mean_square + 1e-6) * wide(weight), x)


@fault("rms_norm", "the mean is subtracted first")
def rms_norm_centred(x: Array, weight: Array) -> Array:
    return once(_normalised(x, eps=1e-6) * wide(weight), x)


@fault("rms_norm", "rounded to float32 first, then to the dtype")
def rms_norm_double_rounding(x: Array, weight: Array) -> Array:
    return twice(_ratio(x) * wide(weight), x)


@fault("rms_norm", "the inverse root is rounded to the dtype")
def rms_norm_rounded_root(x: Array, weight: Array) -> Array:
    return once(wide(x) * wide(once(1 / _root(x), x)) * wide(weight), x)


@fault("rms_norm", "the weight is applied as 1 + w")
def rms_norm_one_plus_weight(x: Array, weight: Array) -> Array:
    return once(_ratio(x) * (1 + wide(weight)), x)


@fault("rms_norm", "from 1,024 rows on the squares are summed one by one in float16")
def rms_norm_block_switch(x: Array, weight: Array) -> Array:
    if x.shape[0] < 1024:
        return once(_ratio(x) * wide(weight), x)
    squares = sequential_sum(np.square(wide(x)), np.float16) / x.shape[-1]
    return once(wide(x) / np.sqrt(squares + 1e-6) * wide(weight), x)


@fault("rms_norm_hf", "rounds once, as the exact form does")
def rms_norm_hf_one_rounding(x: Array, weight: Array) -> Array:
    return once(_ratio(x) * wide(weight), x)


@fault("rms_norm_hf", "the weight is multiplied before the first rounding")
def rms_norm_hf_weight_first(x: Array, weight: Array) -> Array:
    return once(wide(once(wide(x) * wide(weight), x)) / _root(x), x)


@fault("rms_norm_hf", "the weight is applied as 1 + w")
def rms_norm_hf_one_plus_weight(x: Array, weight: Array) -> Array:
    return once(wide(once(_ratio(x), x)) * (1 + wide(weight)), x)


@fault("rms_norm_hf", "the first rounding goes through float32")
def rms_norm_hf_double_rounding(x: Array, weight: Array) -> Array:
    return once(wide(twice(_ratio(x), x)) * wide(weight), x)


@fault("rms_norm_gemma", "the weight is applied as w")
def rms_norm_gemma_plain_weight(x: Array, weight: Array) -> Array:
    return once(_ratio(x) * wide(weight), x)


@fault("rms_norm_gemma", "1 + w is rounded to the dtype")
def rms_norm_gemma_rounded_weight(x: Array, weight: Array) -> Array:
    return once(_ratio(x) * wide(once(1 + wide(weight), x)), x)


@fault("rms_norm_gemma", "rounded to the dtype before the weight, as Llama's norm does")
def rms_norm_gemma_two_roundings(x: Array, weight: Array) -> Array:
    return once(wide(once(_ratio(x), x)) * (1 + wide(weight)), x)


@fault("rms_norm_gemma", "rounded to float32 first, then to the dtype")
def rms_norm_gemma_double_rounding(x: Array, weight: Array) -> Array:
    return twice(_ratio(x) * (1 + wide(weight)), x)
