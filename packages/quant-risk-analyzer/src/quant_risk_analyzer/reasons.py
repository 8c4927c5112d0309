"""Sentences that say why a layer's risk is what it is; each states a number of that layer."""

from __future__ import annotations

from typing import Any

import numpy as np

NOTEWORTHY_SHARE = 0.25  # of the error, carried by...
FEW = 0.05  # ...at most this part of the channels
MANY_DEVIATIONS = 10.0  # a normal variable is beyond this once in 10^23
MOST = 0.5  # of the output channels
MUCH_MORE = 2.0  # times the median layer

Array = np.ndarray[Any, Any]


def channel_reasons(weight: Array, error: Array, *, outputs: Array, inputs: Array) -> list[str]:
    """What stands out in one layer.

    Parameters
    ----------
    weight, error
        Full-precision weight and its rounding error (out, in).
    outputs
        Mean square of the change of the score by output channel (out,).
    inputs
        Mean square of each input channel (in,).

    Returns
    -------
    list of str
        Empty when the error is spread evenly.
    """
    by_input = (error.astype(np.float64) ** 2).sum(0) * inputs
    return [
        *_few_channels(outputs, "output"),
        *_few_channels(by_input, "input"),
        *_long_tail(weight.astype(np.float64)),
        *_outlier_column(np.abs(weight)),
    ]


def comparison_reasons(*, sensitivity: float, noise: float) -> list[str]:
    """What a layer has more of than the median layer.

    `sensitivity` is risk / relative_error^2 and `noise` the relative rounding error, each divided by the
    median over the layers.
    """
    found = []
    if sensitivity > MUCH_MORE:
        found.append(
            f"an error of equal relative size costs {sensitivity:.1f} times what it costs in the median layer"
        )
    if noise > MUCH_MORE:
        found.append(f"its relative rounding error is {noise:.1f} times the median layer's")
    return found


def few_channels(energies: Array) -> tuple[int, float]:
    """How many of the largest entries carry a noteworthy share of the sum, and that share; 0 when many do."""
    total = float(energies.sum())
    if total <= 0:
        return 0, 0.0
    running = np.cumsum(np.sort(energies)[::-1]) / total
    count = int(np.searchsorted(running, NOTEWORTHY_SHARE)) + 1
    return (count, float(running[count - 1])) if count <= max(1, FEW * len(energies)) else (0, 0.0)


def _few_channels(energies: Array, side: str) -> list[str]:
    count, share = few_channels(energies)
    if not count:
        return []
    largest = ", ".join(str(index) for index in np.argsort(energies)[::-1][: min(count, 3)])
    rest = ", ..." if count > 3 else ""
    return [
        f"{count} of {len(energies)} {side} channels carry {share:.0%} of the error (channel {largest}{rest})"
    ]


def _long_tail(weight: Array) -> list[str]:
    rms = np.sqrt((weight**2).mean(1))
    tails = np.abs(weight).max(1) / np.where(rms > 0, rms, 1)
    if tails.max() <= MANY_DEVIATIONS:
        return []
    return [
        f"output channel {int(tails.argmax())} has a weight of {tails.max():.0f} times its root mean square, "
        "which sets the step of all the others"
    ]


def _outlier_column(magnitudes: Array) -> list[str]:
    rows = len(magnitudes)
    holders = np.bincount(magnitudes.argmax(1), minlength=magnitudes.shape[1])
    column = int(holders.argmax())
    # Two columns share the maxima half and half without being outliers.
    if magnitudes.shape[1] < 1 / FEW or holders[column] <= MOST * rows:
        return []
    return [
        f"input channel {column} has the largest weight in {holders[column]} of {rows} output channels and "
        "sets their steps: smoothing or one scale per group helps"
    ]
