"""Wrong softmax, log_softmax and logsumexp."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stable_ops.testing.faults.registry import Array, fault, once, sequential_sum, twice, wide


def _weights(x: Array) -> NDArray[np.float64]:
    return np.asarray(np.exp(wide(x) - wide(x).max(axis=-1, keepdims=True)))


def _over_sum(weights: Array) -> Array:
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


@fault("softmax", "answers zeros: passes any loose absolute tolerance on long rows")
def softmax_zeros(x: Array) -> Array:
    return np.zeros_like(x)


@fault("softmax", "answers 1/N: its rows even sum to one")
def softmax_uniform(x: Array) -> Array:
    return np.full_like(x, 1 / x.shape[-1])


@fault("softmax", "the maximum is not subtracted")
def softmax_no_max(x: Array) -> Array:
    return once(_over_sum(np.exp(x.astype(np.float32))), x)


@fault("softmax", "the maximum is that of the whole batch")
def softmax_batch_max(x: Array) -> Array:
    return once(_over_sum(np.exp(x.astype(np.float32) - x.astype(np.float32).max())), x)


@fault("softmax", "the sum is accumulated in float16")
def softmax_fp16_accumulator(x: Array) -> Array:
    weights = _weights(x)
    return once(weights / sequential_sum(weights, np.float16), x)


@fault("softmax", "the sum is accumulated one by one in float32")
def softmax_fp32_running_sum(x: Array) -> Array:
    weights = _weights(x)
    return once(weights / sequential_sum(weights, np.float32), x)


@fault("softmax", "the padding of the last block of 128 is summed with the row")
def softmax_tail_mask(x: Array) -> Array:
    shifted = wide(x) - wide(x).max(axis=-1, keepdims=True)
    padded = np.pad(shifted, ((0, 0), (0, -x.shape[-1] % 128)))
    return once(np.exp(shifted) / np.exp(padded).sum(axis=-1, keepdims=True), x)


@fault("softmax", "columns after the 65,536th are left out of the sum")
def softmax_column_limit(x: Array) -> Array:
    weights = _weights(x)
    return once(weights / weights[..., :65_536].sum(axis=-1, keepdims=True), x)


@fault("softmax", "normalised over the batch instead of the row")
def softmax_axis(x: Array) -> Array:
    weights = _weights(x)
    return once(weights / weights.sum(axis=0, keepdims=True), x)


@fault("softmax", "the exponentials are rounded to the dtype before the division")
def softmax_rounded_exp(x: Array) -> Array:
    return once(_over_sum(wide(once(_weights(x), x))), x)


@fault("softmax", "exp as 2^(x log2 e) with the product in float32: its error grows with |x|")
def softmax_approximate_exp(x: Array) -> Array:
    shifted = (wide(x) - wide(x).max(axis=-1, keepdims=True)).astype(np.float32)
    return once(_over_sum(np.exp2(wide(shifted * np.float32(np.log2(np.e))))), x)


@fault("softmax", "a reciprocal rounded to the dtype, then a product")
def softmax_rounded_reciprocal(x: Array) -> Array:
    weights = _weights(x)
    return once(weights * wide(once(1 / weights.sum(axis=-1, keepdims=True), x)), x)


@fault("softmax", "rounded to float32 first, then to the dtype")
def softmax_double_rounding(x: Array) -> Array:
    return _over_sum(_weights(x)).astype(np.float32).astype(x.dtype)


@fault("softmax", "rounded toward zero")
def softmax_truncated(x: Array) -> Array:
    exact = _over_sum(_weights(x))
    nearest = once(exact, x)
    return np.where(wide(nearest) > exact, np.nextafter(nearest, np.zeros_like(nearest)), nearest)


@fault("softmax", "from 256 rows on another block size, whose partial sums are rounded")
def softmax_block_switch(x: Array) -> Array:
    weights = _weights(x)
    if x.shape[0] < 256:
        return once(_over_sum(weights), x)
    parts = [once(block.sum(axis=-1), x) for block in np.array_split(weights, 4, axis=-1)]
    return once(weights / np.sum([wide(p) for p in parts], axis=0)[:, None], x)


@fault("softmax", "a row of -inf alone becomes 0, which hides a wrong mask")
def softmax_hidden_nan(x: Array) -> Array:
    return np.nan_to_num(once(_over_sum(_weights(x)), x))


@fault("softmax", "-inf is replaced by the most negative number, so a masked row becomes 1/N")
def softmax_finite_mask(x: Array) -> Array:
    return once(_over_sum(_weights(np.maximum(x, np.finfo(np.float16).min))), x)


_BUFFERS: dict[tuple[Any, ...], Array] = {}


@fault("softmax", "one output buffer for every call of a shape")
def softmax_stale(x: Array) -> Array:
    buffer = _BUFFERS.setdefault((x.shape, x.dtype.name), np.empty_like(x))
    buffer[...] = once(_over_sum(_weights(x)), x)
    return buffer


@fault("softmax", "works in place")
def softmax_in_place(x: Array) -> Array:
    x[...] = once(_over_sum(_weights(x)), x)
    return x


@fault("log_softmax", "the logarithm of a softmax")
def log_softmax_composed(x: Array) -> Array:
    return once(np.log(_over_sum(_weights(x).astype(np.float32))), x)


@fault("log_softmax", "log(1 + s) in float32 instead of log1p(s): the tail is zero")
def log_softmax_no_log1p(x: Array) -> Array:
    shifted = wide(x) - wide(x).max(axis=-1, keepdims=True)
    return once(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True).astype(np.float32)), x)


@fault("logsumexp", "the maximum is not subtracted")
def logsumexp_no_max(x: Array) -> Array:
    return once(np.log(np.exp(wide(x)).sum(axis=-1)), x)


@fault("logsumexp", "-inf alone gives NaN")
def logsumexp_masked_row(x: Array) -> Array:
    peak = wide(x).max(axis=-1)
    return once(peak + np.log(np.exp(wide(x) - peak[..., None]).sum(axis=-1)), x)


@fault("softmax", "reads rows as if they lay one behind the other, whatever the strides")
def softmax_ignores_strides(x: Array) -> Array:
    memory = x if x.base is None else x.base
    rows = memory.ravel(order="K")[: x.size].reshape(x.shape)
    return once(_over_sum(_weights(rows)), x)


@fault("softmax", "rows are done 1,024 at a time, and the last block is left as it was")
def softmax_last_rows(x: Array) -> Array:
    y = once(_over_sum(_weights(x)), x)
    y[max(x.shape[0] // 1024 * 1024, 1024) :] = 0
    return y


@fault("softmax", "the maximum takes NaN for a number below all others")
def softmax_lost_nan(x: Array) -> Array:
    return once(_over_sum(_weights(np.where(np.isnan(x), -np.inf, x).astype(x.dtype))), x)


def _log_softmax(x: Array, total: Any) -> NDArray[np.float64]:
    return np.asarray(wide(x) - wide(x).max(axis=-1, keepdims=True) - np.log(total))


@fault("log_softmax", "rounded to float32 first, then to the dtype")
def log_softmax_double_rounding(x: Array) -> Array:
    return twice(_log_softmax(x, _weights(x).sum(axis=-1, keepdims=True)), x)


@fault("log_softmax", "the sum is accumulated in float16")
def log_softmax_fp16_accumulator(x: Array) -> Array:
    return once(_log_softmax(x, sequential_sum(_weights(x), np.float16)), x)


@fault("log_softmax", "probabilities below 1e-7 are raised to it, so that no logarithm is infinite")
def log_softmax_clamped(x: Array) -> Array:
    return once(np.log(np.maximum(_over_sum(_weights(x)), 1e-7)), x)


@fault("log_softmax", "the sum is the mean one of the batch")
def log_softmax_batch_sum(x: Array) -> Array:
    return once(_log_softmax(x, _weights(x).sum(axis=-1, keepdims=True).mean(axis=0)), x)


def _logsumexp(x: Array, total: Any) -> NDArray[np.float64]:
    peak = wide(x).max(axis=-1)
    return np.asarray(np.where(np.isinf(peak), peak, peak + np.log(total)))


@fault("logsumexp", "answers the maximum")
def logsumexp_maximum(x: Array) -> Array:
    return np.asarray(x.max(axis=-1))


@fault("logsumexp", "the logarithm of the mean")
def logsumexp_mean(x: Array) -> Array:
    return once(_logsumexp(x, _weights(x).mean(axis=-1)), x)


@fault("logsumexp", "rounded to float32 first, then to the dtype")
def logsumexp_double_rounding(x: Array) -> Array:
    return twice(_logsumexp(x, _weights(x).sum(axis=-1)), x)


@fault("logsumexp", "the sum is accumulated in float16")
def logsumexp_fp16_accumulator(x: Array) -> Array:
    return once(_logsumexp(x, sequential_sum(_weights(x), np.float16)[..., 0]), x)


@fault("logsumexp", "the padding of the last block of 128 is summed with the row")
def logsumexp_tail_mask(x: Array) -> Array:
    padding = -x.shape[-1] % 128 * np.exp(-wide(x).max(axis=-1))
    return once(_logsumexp(x, _weights(x).sum(axis=-1) + padding), x)
