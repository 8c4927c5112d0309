"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mfi_command import BadInput
from stable_ops.arrays import Float64
from stable_ops.optim.parameters import read_step, require_range


class SGD:
    """Gradient descent with momentum, Nesterov's form of it, and weight decay.

    Parameters
    ----------
    lr : float
        Learning rate.
    momentum, weight_decay : float
    nesterov : bool
        Needs a momentum.

    Notes
    -----
    With decay :math:`\\lambda` and momentum :math:`\\mu`: :math:`g \\leftarrow g + \\lambda\\theta`;
    :math:`v \\leftarrow \\mu v + g` (:math:`v = g` at the first step); :math:`\\theta \\leftarrow \\theta -
    \\eta v`, or with Nesterov :math:`\\theta - \\eta (g + \\mu v)`. The conventions of torch.optim.SGD,
    which the tests compare with over 200 steps. All in float64. Cost O(n) a step.

    Raises
    ------
    BadInput
        A negative lr, momentum or weight_decay; nesterov without a momentum.

    References
    ----------
    Sutskever et al., On the importance of initialization and momentum in deep learning (2013).

    Examples
    --------
    >>> optimizer = SGD(lr=0.1, momentum=0.9)
    >>> optimizer.step([[1.0, 2.0]], [[10.0, 0.0]])
    [array([0., 2.])]
    """

    def __init__(
        self, *, lr: float, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0
    ) -> None:
        require_range("lr", lr, 0.0)
        require_range("momentum", momentum, 0.0)
        require_range("weight_decay", weight_decay, 0.0)
        if nesterov and momentum == 0:
            raise BadInput("nesterov needs a momentum above 0")
        self.lr, self.momentum, self.nesterov, self.weight_decay = lr, momentum, nesterov, weight_decay
        self._velocity: list[Float64] | None = None

    def step(self, parameters: Sequence[Any], gradients: Sequence[Any]) -> list[Float64]:
        """The parameters after one step; the arguments are not changed.

        Raises
        ------
        BadInput
            Shapes that differ between parameters, gradients and the steps before.
        """
        values, slopes = read_step(parameters, gradients, self._velocity)
        slopes = [g + self.weight_decay * p for g, p in zip(slopes, values, strict=True)]
        if self.momentum == 0:
            directions = slopes
        else:
            old = self._velocity or [np.zeros_like(g) for g in slopes]
            self._velocity = [self.momentum * v + g for v, g in zip(old, slopes, strict=True)]
            directions = self._velocity
            if self.nesterov:
                directions = [g + self.momentum * v for g, v in zip(slopes, directions, strict=True)]
        return [p - self.lr * d for p, d in zip(values, directions, strict=True)]
