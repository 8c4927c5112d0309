"""Wrong kernels, each with one plausible mistake. A test suite that passes one of them is not a test suite.

Each takes numpy arrays as the operator does and answers in the dtype of the first. `FAULTS` lists them by the
operator that they pretend to be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stable_ops.fp.rounding import round_to

Array = NDArray[Any]


@dataclass(frozen=True)
class Fault:
    """A wrong implementation of `op`, and what is wrong with it."""

    op: str
    name: str
    mistake: str
    function: Callable[..., Array]


FAULTS: list[Fault] = []


def of(op: str) -> list[Fault]:
    """The faults of one operator."""
    return [fault for fault in FAULTS if fault.op == op]


def _fault(op: str, mistake: str) -> Callable[[Callable[..., Array]], Callable[..., Array]]:
    def register(function: Callable[..., Array]) -> Callable[..., Array]:
        def quiet(*arguments: Array) -> Array:
            with np.errstate(all="ignore"):
                return function(*arguments)

        FAULTS.append(Fault(op, function.__name__.removeprefix(f"{op}_"), mistake, quiet))
        return quiet

    return register


def _once(y: Any, x: Array) -> Array:
    """Rounded once, as the mistake is elsewhere."""
    return np.asarray(round_to(np.asarray(y, dtype=np.float64), x.dtype.name)).astype(x.dtype)


def _wide(x: Array) -> NDArray[np.float64]:
    return x.astype(np.float64)


def _weights(x: Array) -> NDArray[np.float64]:
    return np.asarray(np.exp(_wide(x) - _wide(x).max(axis=-1, keepdims=True)))


def _over_sum(weights: Array) -> Array:
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def _sequential_sum(x: Array, dtype: Any) -> NDArray[np.float64]:
    """One running sum in that dtype."""
    return _wide(np.add.accumulate(x.astype(dtype), axis=-1, dtype=dtype)[..., -1:])


@_fault("softmax", "answers zeros: passes any loose absolute tolerance on long rows")
def softmax_zeros(x: Array) -> Array:
    return np.zeros_like(x)


@_fault("softmax", "answers 1/N: its rows even sum to one")
def softmax_uniform(x: Array) -> Array:
    return np.full_like(x, 1 / x.shape[-1])


@_fault("softmax", "the maximum is not subtracted")
def softmax_no_max(x: Array) -> Array:
    return _once(_over_sum(np.exp(x.astype(np.float32))), x)


@_fault("softmax", "the maximum is that of the whole batch")
def softmax_batch_max(x: Array) -> Array:
    return _once(_over_sum(np.exp(x.astype(np.float32) - x.astype(np.float32).max())), x)


@_fault("softmax", "the sum is accumulated in float16")
def softmax_fp16_accumulator(x: Array) -> Array:
    weights = _weights(x)
    return _once(weights / _sequential_sum(weights, np.float16), x)


@_fault("softmax", "the sum is accumulated one by one in float32")
def softmax_fp32_running_sum(x: Array) -> Array:
    weights = _weights(x)
    return _once(weights / _sequential_sum(weights, np.float32), x)


@_fault("softmax", "the padding of the last block of 128 is summed with the row")
def softmax_tail_mask(x: Array) -> Array:
    shifted = _wide(x) - _wide(x).max(axis=-1, keepdims=True)
    padded = np.pad(shifted, ((0, 0), (0, -x.shape[-1] % 128)))
    return _once(np.exp(shifted) / np.exp(padded).sum(axis=-1, keepdims=True), x)


@_fault("softmax", "columns after the 65,536th are left out of the sum")
def softmax_column_limit(x: Array) -> Array:
    weights = _weights(x)
    return _once(weights / weights[..., :65_536].sum(axis=-1, keepdims=True), x)


@_fault("softmax", "normalised over the batch instead of the row")
def softmax_axis(x: Array) -> Array:
    weights = _weights(x)
    return _once(weights / weights.sum(axis=0, keepdims=True), x)


@_fault("softmax", "the exponentials are rounded to the dtype before the division")
def softmax_rounded_exp(x: Array) -> Array:
    return _once(_over_sum(_wide(_once(_weights(x), x))), x)


@_fault("softmax", "exp as 2^(x log2 e) with the product in float32: its error grows with |x|")
def softmax_approximate_exp(x: Array) -> Array:
    shifted = (_wide(x) - _wide(x).max(axis=-1, keepdims=True)).astype(np.float32)
    return _once(_over_sum(np.exp2(_wide(shifted * np.float32(np.log2(np.e))))), x)


@_fault("softmax", "a reciprocal rounded to the dtype, then a product")
def softmax_rounded_reciprocal(x: Array) -> Array:
    weights = _weights(x)
    return _once(weights * _wide(_once(1 / weights.sum(axis=-1, keepdims=True), x)), x)


@_fault("softmax", "rounded to float32 first, then to the dtype")
def softmax_double_rounding(x: Array) -> Array:
    return _over_sum(_weights(x)).astype(np.float32).astype(x.dtype)


@_fault("softmax", "rounded toward zero")
def softmax_truncated(x: Array) -> Array:
    exact = _over_sum(_weights(x))
    nearest = _once(exact, x)
    return np.where(_wide(nearest) > exact, np.nextafter(nearest, np.zeros_like(nearest)), nearest)


@_fault("softmax", "from 256 rows on another block size, whose partial sums are rounded")
def softmax_block_switch(x: Array) -> Array:
    weights = _weights(x)
    if x.shape[0] < 256:
        return _once(_over_sum(weights), x)
    parts = [_once(block.sum(axis=-1), x) for block in np.array_split(weights, 4, axis=-1)]
    return _once(weights / np.sum([_wide(p) for p in parts], axis=0)[:, None], x)


@_fault("softmax", "a row of -inf alone becomes 0, which hides a wrong mask")
def softmax_hidden_nan(x: Array) -> Array:
    return np.nan_to_num(_once(_over_sum(_weights(x)), x))


@_fault("softmax", "-inf is replaced by the most negative number, so a masked row becomes 1/N")
def softmax_finite_mask(x: Array) -> Array:
    return _once(_over_sum(_weights(np.maximum(x, np.finfo(np.float16).min))), x)


_BUFFERS: dict[tuple[Any, ...], Array] = {}


@_fault("softmax", "one output buffer for every call of a shape")
def softmax_stale(x: Array) -> Array:
    buffer = _BUFFERS.setdefault((x.shape, x.dtype.name), np.empty_like(x))
    buffer[...] = _once(_over_sum(_weights(x)), x)
    return buffer


@_fault("softmax", "works in place")
def softmax_in_place(x: Array) -> Array:
    x[...] = _once(_over_sum(_weights(x)), x)
    return x


@_fault("log_softmax", "the logarithm of a softmax")
def log_softmax_composed(x: Array) -> Array:
    return _once(np.log(_over_sum(_weights(x).astype(np.float32))), x)


@_fault("log_softmax", "log(1 + s) in float32 instead of log1p(s): the tail is zero")
def log_softmax_no_log1p(x: Array) -> Array:
    shifted = _wide(x) - _wide(x).max(axis=-1, keepdims=True)
    return _once(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True).astype(np.float32)), x)


@_fault("logsumexp", "the maximum is not subtracted")
def logsumexp_no_max(x: Array) -> Array:
    return _once(np.log(np.exp(_wide(x)).sum(axis=-1)), x)


@_fault("logsumexp", "-inf alone gives NaN")
def logsumexp_masked_row(x: Array) -> Array:
    peak = _wide(x).max(axis=-1)
    return _once(peak + np.log(np.exp(_wide(x) - peak[..., None]).sum(axis=-1)), x)


def _normalised(x: Array, *, eps: float = 1e-5, ddof: int = 0) -> NDArray[np.float64]:
    wide = _wide(x)
    centred = wide - wide.mean(axis=-1, keepdims=True)
    variance = np.square(centred).sum(axis=-1, keepdims=True) / max(1, x.shape[-1] - ddof)
    return np.asarray(centred / np.sqrt(variance + eps))


@_fault("layer_norm", "answers the bias only")
def layer_norm_bias_only(x: Array, weight: Array, bias: Array) -> Array:
    return np.broadcast_to(bias, x.shape).copy()


@_fault("layer_norm", "eps is added outside the root")
def layer_norm_eps_outside(x: Array, weight: Array, bias: Array) -> Array:
    centred = _wide(x) - _wide(x).mean(axis=-1, keepdims=True)
    deviation = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True))
    return _once(centred / (deviation + 1e-5) * _wide(weight) + _wide(bias), x)


@_fault("layer_norm", "no eps")
def layer_norm_no_eps(x: Array, weight: Array, bias: Array) -> Array:
    return _once(_normalised(x, eps=0.0) * _wide(weight) + _wide(bias), x)


@_fault("layer_norm", "the variance is divided by N - 1")
def layer_norm_n_minus_1(x: Array, weight: Array, bias: Array) -> Array:
    return _once(_normalised(x, ddof=1) * _wide(weight) + _wide(bias), x)


@_fault("layer_norm", "the variance is E[x^2] - E[x]^2 in float32")
def layer_norm_one_pass(x: Array, weight: Array, bias: Array) -> Array:
    narrow = x.astype(np.float32)
    mean = narrow.mean(axis=-1, keepdims=True)
    variance = np.square(narrow).mean(axis=-1, keepdims=True) - mean * mean
    return _once((narrow - mean) / np.sqrt(variance + np.float32(1e-5)) * _wide(weight) + _wide(bias), x)


@_fault("layer_norm", "the mean is accumulated in float16")
def layer_norm_fp16_mean(x: Array, weight: Array, bias: Array) -> Array:
    centred = _wide(x) - _sequential_sum(x, np.float16) / x.shape[-1]
    deviation = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + 1e-5)
    return _once(centred / deviation * _wide(weight) + _wide(bias), x)


@_fault("layer_norm", "the mean is not subtracted")
def layer_norm_not_centred(x: Array, weight: Array, bias: Array) -> Array:
    deviation = np.sqrt(np.square(_wide(x)).mean(axis=-1, keepdims=True) + 1e-5)
    return _once(_wide(x) / deviation * _wide(weight) + _wide(bias), x)


@_fault("layer_norm", "the bias is forgotten")
def layer_norm_no_bias(x: Array, weight: Array, bias: Array) -> Array:
    return _once(_normalised(x) * _wide(weight), x)


@_fault("layer_norm", "the weight is applied as 1 + w")
def layer_norm_one_plus_weight(x: Array, weight: Array, bias: Array) -> Array:
    return _once(_normalised(x) * (1 + _wide(weight)) + _wide(bias), x)


@_fault("layer_norm", "rounded to float32 first, then to the dtype")
def layer_norm_double_rounding(x: Array, weight: Array, bias: Array) -> Array:
    return (_normalised(x) * _wide(weight) + _wide(bias)).astype(np.float32).astype(x.dtype)


@_fault("layer_norm", "rounded to the dtype before weight and bias")
def layer_norm_two_roundings(x: Array, weight: Array, bias: Array) -> Array:
    return _once(_wide(_once(_normalised(x), x)) * _wide(weight) + _wide(bias), x)


@_fault("rms_norm", "squared in the dtype: overflows from 256 on in float16")
def rms_norm_squares(x: Array, weight: Array) -> Array:
    mean_square = _wide(_once(np.square(_wide(x)), x)).mean(axis=-1, keepdims=True)
    return _once(_wide(x) / np.sqrt(mean_square + 1e-6) * _wide(weight), x)


@_fault("rms_norm", "rounded to the dtype before the weight")
def rms_norm_two_roundings(x: Array, weight: Array) -> Array:
    root = np.sqrt(np.square(_wide(x)).mean(axis=-1, keepdims=True) + 1e-6)
    return _once(_wide(_once(_wide(x) / root, x)) * _wide(weight), x)


@_fault("gelu", "the tanh approximation in place of erf")
def gelu_tanh(x: Array) -> Array:
    wide = _wide(x)
    return _once(0.5 * wide * (1 + np.tanh(np.sqrt(2 / np.pi) * (wide + 0.044715 * wide**3))), x)


@_fault("gelu", "1 + erf in float32, which is zero in the tail")
def gelu_cancelled_tail(x: Array) -> Array:
    from scipy.special import erf

    cdf = (1 + erf(_wide(x) / np.sqrt(2)).astype(np.float32)) * np.float32(0.5)
    return _once(_wide(x) * cdf, x)


@_fault("silu", "the sigmoid is rounded to the dtype before the product")
def silu_two_roundings(x: Array) -> Array:
    return _once(_wide(x) * _wide(_once(1 / (1 + np.exp(-_wide(x))), x)), x)


@_fault("swiglu", "silu is rounded to the dtype before the product")
def swiglu_two_roundings(gate: Array, up: Array) -> Array:
    silu = _once(_wide(gate) / (1 + np.exp(-_wide(gate))), gate)
    return _once(_wide(silu) * _wide(up), gate)


@_fault("swiglu", "gate and up are exchanged")
def swiglu_exchanged(gate: Array, up: Array) -> Array:
    return _once(_wide(up) / (1 + np.exp(-_wide(up))) * _wide(gate), gate)
