"""Activations and key-value caches in few bits: one scale a token, or one a channel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from mfi_command import BadInput
from quant_risk_analyzer.formats import NumberFormat, format_named
from quant_risk_analyzer.quantizers import rounded

if TYPE_CHECKING:
    import torch

Axis = Literal["token", "channel"]


def round_tokens(x: Any, format: str | NumberFormat) -> Any:
    """Activations (..., channels) rounded with a scale for each token, as W8A8 kernels do while they run.

    Parameters
    ----------
    x
        numpy array or torch tensor, floating, finite; the last axis is the channels.
    format
        "int8", "fp8_e4m3", or any of `FORMATS`.

    Returns
    -------
    array
        Type, dtype and shape of `x`; each number at most half a step away, with the step of its token.

    Raises
    ------
    BadInput
        As `quantize`.
    """
    kind = format_named(format) if isinstance(format, str) else format
    return rounded(x.reshape(-1, x.shape[-1]), kind, "channel").reshape(x.shape)


def round_cache(x: Any, format: str | NumberFormat, *, axis: Axis = "token", group: int | None = None) -> Any:
    """Keys or values (..., tokens, head size) rounded as a cache stores them.

    Parameters
    ----------
    x
        numpy array or torch tensor, at least two axes.
    format
        Of one number.
    axis
        "token": a scale for each token and head (values). "channel": one for each channel of a head over
        `group` tokens (keys, whose outliers stay in few channels).
    group
        Tokens that share a scale when `axis` is "channel"; all of them by default. Ignored for "token".

    Raises
    ------
    BadInput
        As `quantize`, fewer than two axes, an unknown axis.

    Notes
    -----
    Source for the two axes: Liu et al., "KIVI", ICML 2024.
    """
    kind = format_named(format) if isinstance(format, str) else format
    if x.ndim < 2:
        raise BadInput(f"a cache of shape {tuple(x.shape)}: expected (..., tokens, head size)")
    if axis == "token":
        return round_tokens(x, kind)
    if axis != "channel":
        raise BadInput(f"axis {axis!r}: expected 'token' or 'channel'")
    turned = x.swapaxes(-1, -2)
    granularity = "channel" if group is None else group
    return (
        rounded(turned.reshape(-1, turned.shape[-1]), kind, granularity)
        .reshape(turned.shape)
        .swapaxes(-1, -2)
    )


@contextmanager
def rounded_inputs(layers: Mapping[str, torch.nn.Module], format: str | NumberFormat) -> Iterator[None]:
    """Inside, the inputs of these modules are rounded token by token: weights and activations in few bits.

    Together with `rounded_weights` this is W8A8; the modules are as before afterwards, also after an error.
    """
    kind = format_named(format) if isinstance(format, str) else format

    def hook(module: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (round_tokens(inputs[0], kind), *inputs[1:])

    handles = [module.register_forward_pre_hook(hook) for module in layers.values()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
