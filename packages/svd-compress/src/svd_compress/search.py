"""The smallest plan whose measured rise of the perplexity stays under a budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from svd_compress.allocation import Plan
from svd_compress.evaluation import Rise

# The rise of the plan with this index, measured.
Measure = Callable[[int], Rise]
PROBES = 8
CHECKS = 4
# The search aims a little under the budget: the interval has to fit under it, not only the estimate.
AIM = 0.9


def smallest_under(plans: Sequence[Plan], measure: Measure, target: float) -> int:
    """Index of the smallest plan with a measured rise of at most `target`; 0, everything dense, if none.

    The predicted losses order the plans, and their error is close to one factor: each measurement
    corrects that factor and the next probe goes where the corrected prediction meets the target. At most
    PROBES measurements of plans other than the dense one.
    """
    predicted = np.array([plan.predicted_loss_rise for plan in plans])
    wanted = math.log1p(target / measure(0).before)
    low, high, factor = 0, len(plans), 1.0
    for probe in range(PROBES):
        if high - low <= 1 or _same_size(plans, low, high):
            break
        guess = int(np.searchsorted(predicted, wanted / factor, side="right")) - 1
        # Every third probe halves the bracket, so that a bad prediction cannot make it crawl.
        guess = (low + high) // 2 if probe % 3 == 2 else min(max(guess, low + 1), high - 1)
        rise = measure(guess)
        low, high = (guess, high) if rise.rise <= target else (low, guess)
        risen = math.log(rise.after / rise.before)
        if 0 < risen < math.inf and predicted[guess] > 0:
            factor = risen / float(predicted[guess])
    return low


def _same_size(plans: Sequence[Plan], low: int, high: int) -> bool:
    """Whether what is left between two plans is under half a percent of the parameters."""
    upper = plans[min(high, len(plans) - 1)].parameters
    return low > 0 and plans[low].parameters - upper < 0.005 * plans[0].parameters


def largest_verified(find: Callable[[float], int], verify: Measure, budget: float) -> tuple[int, Rise | None]:
    """The smallest plan found whose whole interval, on the evaluation text, lies under the budget.

    `find(target)` searches on text of the calibration; only its answer is shown to the evaluation text,
    at most CHECKS times. A rise that is higher there than in the search lowers the target of the next
    search in proportion; one with room to spare raises it.

    Returns
    -------
    tuple
        Index and rise of the plan; if none passed, 0 and the rise of the gentlest plan tried, if any.
    """
    target, best, seen = AIM * budget, 0, {0}
    best_rise: Rise | None = None
    for _ in range(CHECKS):
        index = find(target)
        if index in seen:
            break
        seen.add(index)
        rise = verify(index)
        passed = rise.high <= budget
        if passed and index > best:
            best, best_rise = index, rise
        elif best == 0 and (best_rise is None or rise.rise < best_rise.rise):
            best_rise = rise
        if not math.isfinite(rise.high) or rise.high <= 0:
            break
        target *= 0.97 * budget / rise.high
    return best, best_rise
