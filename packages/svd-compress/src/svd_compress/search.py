"""The smallest plan whose measured rise of the perplexity stays under a budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from svd_compress.allocation import Plan
from svd_compress.evaluation import Rise

# The rise of the plan with this index, measured.
Measure = Callable[[int], Rise]
# Each probe aims a little under the budget: one that ends above it was spent for nothing.
AIM = 0.95
# Plans that differ by less than this share of the parameters are the same answer.
ENOUGH = 0.005


def smallest_under(
    plans: Sequence[Plan],
    measure: Measure,
    budget: float,
    *,
    before: float,
    value: Callable[[Rise], float],
    probes: int,
    start: int | None = None,
) -> int:
    """Index of the smallest plan found whose measured rise is at most `budget`; 0, everything dense, if none.

    The predicted losses order the plans, and measured rises follow them along a smooth curve: the next
    probe goes where the line through the last points on both sides of the budget meets it.

    Parameters
    ----------
    plans
        From `allocation.frontier`, dense first.
    measure
        Measures a plan.
    budget
        Bound on the rise of the perplexity.
    before
        Perplexity of the dense model.
    value
        What of the rise is held against the budget: the estimate or the upper end of its interval.
    probes
        Measurements at most.
    start
        The first plan to measure; where the prediction meets the budget by default.
    """
    wanted = math.log1p(AIM * budget / before)
    low, high = 0, len(plans)
    below, above = (0.0, 0.0), None
    guess = _index(plans, wanted) if start is None else start
    for _ in range(probes):
        if high - low <= 1 or _close(plans, low, high):
            break
        guess = min(max(guess, low + 1), high - 1)
        seen = value(measure(guess))
        # A plan may measure a little better than dense: no rise then, but still a place on the curve.
        point = (plans[guess].predicted_loss_rise, math.log1p(max(seen, 0.0) / before))
        if seen <= budget:
            low, below = guess, point
        else:
            high, above = guess, point
        guess = _index(plans, _meets(wanted, below, above))
    return low


def _index(plans: Sequence[Plan], predicted: float) -> int:
    """The last plan that is predicted to rise by no more."""
    return sum(plan.predicted_loss_rise <= predicted for plan in plans) - 1


def _meets(wanted: float, below: tuple[float, float], above: tuple[float, float] | None) -> float:
    """The prediction at which the line through the nearest points is `wanted`."""
    if above is None:
        x, y = below
        return 2 * x if y <= 0 else x * min(wanted / y, 4.0)
    if not math.isfinite(above[1]) or above[1] <= below[1]:
        return (below[0] + above[0]) / 2
    share = (wanted - below[1]) / (above[1] - below[1])
    # Never onto an end again, which is known already.
    return below[0] + min(max(share, 0.1), 0.9) * (above[0] - below[0])


def _close(plans: Sequence[Plan], low: int, high: int) -> bool:
    """Whether what is left between two plans is not worth another measurement."""
    upper = plans[min(high, len(plans) - 1)].parameters
    return low > 0 and plans[low].parameters - upper < ENOUGH * plans[0].parameters
