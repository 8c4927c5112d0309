"""The operators on torch tensors in host memory: torch's vector loops in float64, a block of rows at a time.

The same formulas as the numpy form, and after the one rounding the same bits. torch is not imported here: who
has a tensor has imported it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mfi_command import BadInput
from stable_ops.arrays import is_tensor, round_once
from stable_ops.blocks import share
from stable_ops.fp.formats import BF16, FP16, Format

# Elements in float64 at a time (256 KiB). torch works on so few with the calling thread alone: blocks then run side
# by side without waiting for one another after every operation.
_BLOCK_ELEMENTS = 2**15
# Up to here the row sums of torch's own softmax, in four lanes one after the other, are good to 2^-42.
_FUSED_LENGTH = 2**12
# torch splits a single long row over its threads; sums of pieces this long are added in one order.
_PIECE = 256
_WHOLE_LENGTH = 2**15
# From here on numpy asks for huge pages, which torch does not: first touch then costs a fifth.
_HUGE_BYTES = 2**22

_DTYPES = {"torch.float32", "torch.float16", "torch.bfloat16"}
_16_BIT = {"torch.float16": FP16, "torch.bfloat16": BF16}

Gate = Literal["gelu", "gelu_tanh", "silu"]
Rows = Callable[[Any], Any]


def fits(*operands: Any) -> bool:
    """Whether these functions take them: dense tensors in host memory, float16, bfloat16 or float32."""
    return all(
        is_tensor(x)
        and x.device.type == "cpu"
        and str(x.dtype) in _DTYPES
        and str(x.layout) == "torch.strided"
        for x in operands
    )


def softmax(x: Any, axis: int) -> Any:
    """`stable_ops.softmax`."""
    return _map_rows(_softmax_rows, x, axis)


def log_softmax(x: Any, axis: int) -> Any:
    """`stable_ops.log_softmax`."""
    return _map_rows(_log_softmax_rows, x, axis)


def logsumexp(x: Any, axis: int) -> Any:
    """`stable_ops.logsumexp`."""
    return _map_rows(_logsumexp_rows, x, axis, reduces=True)


def layer_norm(x: Any, weight: Any, bias: Any, eps: float, axis: int) -> Any:
    """`stable_ops.layer_norm` with float64 numpy vectors, or None."""

    def rows(block: Any) -> Any:
        n = block.shape[-1]
        for _ in range(2):  # the second pass takes out the rounding error of the first mean
            block.sub_(_row_sum(block).div_(n))
        return _affine(_normalise(block, eps), weight, bias)

    return _map_rows(rows, x, axis)


def rms_norm(x: Any, weight: Any, eps: float, axis: int, *, twice: bool) -> Any:
    """`stable_ops.rms_norm`; `twice` rounds before the weight too."""

    def rows(block: Any) -> Any:
        _normalise(block, eps)
        if twice:
            rounded = block.to(x.dtype)
            _round_into(rounded, block)
            block.copy_(rounded)
        return _affine(block, weight, None)

    return _map_rows(rows, x, axis)


def activation(name: Gate, x: Any) -> Any:
    """`stable_ops.gelu` or `stable_ops.silu` of a float32 tensor."""
    share = _SHARES[name]
    return _map_elements(lambda block: block.mul_(_off_ties(share(block.clamp_(min=-2000.0)), block)), x)


def swiglu(gate: Any, up: Any) -> Any:
    """`stable_ops.swiglu` of tensors of one shape."""

    def product(block: Any, other: Any) -> Any:
        share = _off_ties(_silu_share(block.clamp_(min=-2000.0)), block)
        return block.mul_(share).mul_(other)

    return _map_elements(product, gate, up)


def codes(x: Any) -> NDArray[np.uint16]:
    """The bits of a 16-bit tensor, in the same memory."""
    bits: NDArray[np.uint16] = x.view(sys.modules["torch"].int16).numpy().view(np.uint16)
    return bits


def from_codes(bits: NDArray[np.uint16], dtype: Any) -> Any:
    """The tensor with these bits."""
    return sys.modules["torch"].from_numpy(bits.view(np.int16)).view(dtype)


def _softmax_rows(x: Any) -> Any:
    torch = sys.modules["torch"]
    if x.shape[-1] <= _FUSED_LENGTH:
        return torch.softmax(x, -1)
    x.sub_(x.amax(-1, keepdim=True)).exp_()
    return x.div_(_row_sum(x))


def _log_softmax_rows(x: Any) -> Any:
    torch = sys.modules["torch"]
    x.sub_(x.amax(-1, keepdim=True))
    logarithm = _log_sum(x.exp())
    # log 2 is seen beside everything below 2^50; where it is lost, x - m may be a tie of the format.
    odd = (logarithm < math.log(2)) | (x.amin(-1, keepdim=True) < -(2.0**50))
    if not odd.any():
        return x.sub_(logarithm)
    shifted = x.clone()
    x.sub_(logarithm)
    lost = (x == shifted) & (shifted < 0) & (shifted.view(torch.int64) % 2 == 0)
    below = torch.nextafter(x[lost], torch.full((), -math.inf, dtype=x.dtype))
    return x.masked_scatter_(lost, below)


def _logsumexp_rows(x: Any) -> Any:
    torch = sys.modules["torch"]
    if x.shape[-1] == 0:
        return x.new_full(x.shape[:1], -math.inf)
    peak = x.amax(-1, keepdim=True)
    total = peak + _log_sum(x.sub_(peak).exp_())
    # inf - inf inside made these rows NaN, though their sum is defined.
    return torch.where(torch.isinf(peak), peak, total)[:, 0]


def _log_sum(weights: Any) -> Any:
    """Logarithm of each row's sum, one of its terms 1; below log 2 as log1p of the rest. `(m, 1)`."""
    total = _row_sum(weights)
    logarithm = total.log()
    rows = (total[:, 0] < 2.0).nonzero()[:, 0]
    if rows.numel():
        rest = weights[rows]
        rest.scatter_(1, rest.argmax(-1, keepdim=True), 0.0)
        logarithm[rows] = _row_sum(rest).log1p()
    return logarithm


def _row_sum(x: Any) -> Any:
    """Sum of each row in an order that depends on its length alone, `(m, 1)`."""
    n = x.shape[-1]
    if n < _WHOLE_LENGTH:
        return x.sum(-1, keepdim=True)
    whole = n - n % _PIECE
    pieces = x[:, :whole].unflatten(1, (-1, _PIECE)).sum(-1)
    return _row_sum(pieces) + x[:, whole:].sum(-1, keepdim=True)


def _normalise(x: Any, eps: float) -> Any:
    # Squares of these formats neither overflow nor vanish in float64.
    return x.div_(_row_sum(x.square()).div_(x.shape[-1]).add_(eps).sqrt_())


def _affine(x: Any, weight: Any, bias: Any) -> Any:
    torch = sys.modules["torch"]
    if weight is not None:
        x.mul_(torch.from_numpy(weight))
    if bias is not None:
        x.add_(torch.from_numpy(bias))
    return x


def _gelu_share(x: Any) -> Any:
    return sys.modules["torch"].special.erfc(x * -math.sqrt(0.5)).mul_(0.5)


def _gelu_tanh_share(x: Any) -> Any:
    cubic = x.square().mul_(0.044715).mul_(x).add_(x)
    return cubic.mul_(2.0 * math.sqrt(2.0 / math.pi)).sigmoid_()


def _silu_share(x: Any) -> Any:
    return x.sigmoid()


_SHARES = {"gelu": _gelu_share, "gelu_tanh": _gelu_tanh_share, "silu": _silu_share}


def _off_ties(share: Any, x: Any) -> Any:
    """Keep a share that float64 cannot tell from 1/2 or 1 on its own side of it, as the numpy form does."""
    step = 2.0**-50
    share.clamp_(max=1.0 - step)
    tiny = x.abs() < 2.0**-48
    if tiny.any():
        share[tiny] = x[tiny].sign_().mul_(0.5 * step).add_(0.5)
    return share


def _map_rows(function: Rows, x: Any, axis: int, *, reduces: bool = False) -> Any:
    """As `stable_ops.blocks.map_rows`."""
    torch = sys.modules["torch"]
    if x.ndim == 0 or not -x.ndim <= axis < x.ndim:
        raise BadInput(f"axis {axis} is not one of a tensor of shape {tuple(x.shape)}: pass one that it has")
    rows = x.movedim(axis, -1)
    lead, length = rows.shape[:-1], rows.shape[-1]
    count = math.prod(lead)
    out = _empty((count,) if reduces else (count, length), x.dtype)
    read = _reader(rows)
    step = max(1, _BLOCK_ELEMENTS // max(1, length))

    def worker() -> Callable[[int], None]:
        buffer = torch.empty(min(step, count), length, dtype=torch.float64)

        def one(start: int) -> None:
            stop = min(start + step, count)
            block = buffer[: stop - start].copy_(read(start, stop))
            _round_into(out[start:stop], function(block))

        return one

    if out.numel():
        share(worker, range(0, count, step), elements=count * length, threads=torch.get_num_threads())
    if reduces:
        return out.view(lead)
    return out.view(rows.shape).movedim(-1, axis)


def _map_elements(function: Callable[..., Any], *operands: Any) -> Any:
    torch = sys.modules["torch"]
    first = operands[0]
    readers = [_elements(x) for x in operands]
    out = _empty((first.numel(),), first.dtype)

    def one(start: int) -> None:
        stop = min(start + _BLOCK_ELEMENTS, out.numel())
        blocks = (read(start, stop).to(torch.float64, copy=True) for read in readers)
        _round_into(out[start:stop], function(*blocks))

    starts = range(0, out.numel(), _BLOCK_ELEMENTS)
    share(lambda: one, starts, elements=out.numel(), threads=torch.get_num_threads())
    return out.view(first.shape)


def _reader(rows: Any) -> Callable[[int, int], Any]:
    """Rows start to stop of a tensor `(..., n)` as `(stop - start, n)`, without a copy of the whole."""
    torch = sys.modules["torch"]
    lead = rows.shape[:-1]
    if rows.ndim == 2 or rows.is_contiguous():
        flat = rows if rows.ndim == 2 else rows.view(-1, rows.shape[-1])
        return lambda start, stop: flat[start:stop]
    if rows.ndim == 1:
        return lambda start, stop: rows[None]
    return lambda start, stop: rows[torch.unravel_index(torch.arange(start, stop), lead)]


def _elements(x: Any) -> Callable[[int, int], Any]:
    torch = sys.modules["torch"]
    if x.ndim == 1 or x.is_contiguous():
        flat = x if x.ndim == 1 else x.view(-1)
        return lambda start, stop: flat[start:stop]
    return lambda start, stop: x[torch.unravel_index(torch.arange(start, stop), x.shape)]


def _empty(shape: tuple[int, ...], dtype: Any) -> Any:
    torch = sys.modules["torch"]
    count = math.prod(shape) * dtype.itemsize
    if count < _HUGE_BYTES:
        return torch.empty(shape, dtype=dtype)
    return torch.from_numpy(np.empty(count, dtype=np.uint8)).view(dtype).view(shape)


def _round_into(out: Any, y: Any) -> None:
    """Float64 into contiguous `out`, rounded once; torch's own cast to 16 bits goes through float32."""
    format = _16_BIT.get(str(out.dtype))
    if format is None:
        out.copy_(y)
        return
    near = y.float()
    out.copy_(near)
    # Where float32 ends in zeros up to the last bit that is dropped, what it lost may decide.
    tail = (1 << (22 - format.mantissa_bits)) - 1
    suspect = ((near.view(sys.modules["torch"].int32) & tail) == 0).view(-1).nonzero()[:, 0]
    wide = y.view(-1)[suspect]
    lost = wide != near.view(-1)[suspect]
    if lost.any():
        out.view(-1)[suspect[lost]] = _rounded(wide[lost], format).to(out.dtype)


def _rounded(y: Any, format: Format) -> Any:
    dtype = np.dtype(np.float16 if format == FP16 else np.float32)
    return sys.modules["torch"].from_numpy(round_once(y.numpy(), format, dtype))
