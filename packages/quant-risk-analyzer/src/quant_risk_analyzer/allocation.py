"""Bits for each layer: the least predicted damage in a budget, or the fewest bits for a damage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mfi_command import BadInput
from quant_risk_analyzer.formats import FORMATS, bits_per_weight
from quant_risk_analyzer.report import LayerRisk, RiskReport

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

FUSED = {"q": "qkv", "k": "qkv", "v": "qkv", "gate": "gate_up", "up": "gate_up"}
TIME_LIMIT_S = 30.0
TOLERANCE = 1e-6  # of HiGHS: a constraint may be overstepped by this much


@dataclass(frozen=True)
class Allocation:
    """A format for each layer.

    Attributes
    ----------
    assignment
        Format by layer name.
    average_bits, total_bytes
        Bits per weight over the rated layers, and their bytes; scales counted.
    predicted_loss_increase
        Sum of the layers' risks, nats per token: layers are taken to do their damage independently.
    lower_bound
        No assignment within the budget has a smaller predicted sum (under a limit of the loss: is smaller in
        bytes).
    optimal
        The solver proved that nothing is better.
    """

    assignment: Mapping[str, str]
    average_bits: float
    total_bytes: float
    predicted_loss_increase: float
    lower_bound: float
    optimal: bool

    def to_dict(self) -> dict[str, object]:
        """As a plain dictionary."""
        return {**self.__dict__, "assignment": dict(self.assignment)}


@dataclass(frozen=True)
class _Choice:
    format: str
    bits: float
    risk: float


def allocate(
    report: RiskReport,
    *,
    average_bits: float | None = None,
    total_bytes: float | None = None,
    max_loss: float | None = None,
    fused: bool = True,
) -> Allocation:
    r"""Choose a format for each layer: the least summed risk in a budget, or the fewest bits for a risk.

    .. math:: \min_f \sum_l \text{risk}_l(f_l) \quad\text{with}\quad \sum_l b_l(f_l) \le B

    A multiple-choice knapsack, solved exactly.

    Parameters
    ----------
    report
        From `rate`, with the candidate formats.
    average_bits
        Budget per weight of the rated layers, scales of 16 bits included.
    total_bytes
        The same budget in bytes of all rated layers.
    max_loss
        In place of a budget: the summed risk may not exceed this, nats per token, and the bits are least.
    fused
        q, k and v of a block share a format, gate and up, and all experts of a block: runtimes fuse these
        layers and refuse a mix.

    Returns
    -------
    Allocation
        The predicted sum never rises with the budget where the solver finished (`optimal`).

    Raises
    ------
    BadInput
        Unless exactly one limit is given; if the smallest format everywhere is over the budget, or no
        assignment is below `max_loss`.

    Notes
    -----
    Branch and bound of HiGHS through `scipy.optimize.milp`, ended after 30 s with the best so far. Source:
    Sinha and Zoltners, "The multiple-choice knapsack problem", Operations Research 1979.
    """
    given = [limit for limit in (average_bits, total_bytes, max_loss) if limit is not None]
    if len(given) != 1 or not 0 <= given[0] < np.inf:
        raise BadInput("expected exactly one limit, 0 or more: average_bits, total_bytes or max_loss")
    units = list(units_of(report.layers, fused=fused).values())
    options = [_undominated(_choices(unit, report)) for unit in units]
    weights = sum(layer.shape[0] * layer.shape[1] for layer in report.layers)
    if max_loss is not None:
        chosen, bound, optimal = _cheapest_below(options, max_loss)
        bound /= 8
    else:
        budget = average_bits * weights if average_bits is not None else 8 * (total_bytes or 0)
        chosen, bound, optimal = _best_within(options, budget, weights)
    bits = sum(choice.bits for choice in chosen)
    return Allocation(
        assignment={
            layer.name: choice.format for unit, choice in zip(units, chosen, strict=True) for layer in unit
        },
        average_bits=bits / weights,
        total_bytes=bits / 8,
        predicted_loss_increase=sum(choice.risk for choice in chosen),
        lower_bound=bound,
        optimal=optimal,
    )


def units_of(layers: Sequence[LayerRisk], *, fused: bool) -> dict[object, list[LayerRisk]]:
    """Layers that share a format, by block and role; each alone where they need not."""
    units: dict[object, list[LayerRisk]] = {}
    for layer in layers:
        parent = layer.name.rpartition(".")[0]
        head, inside, _ = layer.name.partition(".experts.")
        key: object = layer.name
        if fused and inside:
            key = (head, "experts")
        elif fused and parent and layer.role in FUSED:
            key = (parent, FUSED[layer.role])
        units.setdefault(key, []).append(layer)
    return units


def _choices(unit: Sequence[LayerRisk], report: RiskReport) -> list[_Choice]:
    return [
        _Choice(
            format=name,
            bits=sum(
                layer.shape[0]
                * layer.shape[1]
                * bits_per_weight(FORMATS[name], layer.shape, report.granularity)
                for layer in unit
            ),
            risk=sum(layer.formats[name].risk for layer in unit),
        )
        for name in report.formats
    ]


def _undominated(options: Sequence[_Choice]) -> list[_Choice]:
    """Without the choices that cost as much as another and risk as much; fewest bits first."""
    kept: list[_Choice] = []
    for option in sorted(options, key=lambda each: (each.bits, each.risk)):
        if not kept or option.risk < kept[-1].risk:
            kept.append(option)
    return kept


def _best_within(
    options: Sequence[Sequence[_Choice]], budget: float, weights: int
) -> tuple[list[_Choice], float, bool]:
    least = sum(each[0].bits for each in options)
    if least > budget * (1 + 1e-12):
        raise BadInput(
            f"{budget / weights:.6g} bits per weight cannot hold these formats: the smallest take "
            f"{least / weights:.3f}, scales included; raise the budget or add a smaller format"
        )
    return _solved(options, "risk", "bits", budget)


def _cheapest_below(
    options: Sequence[Sequence[_Choice]], max_loss: float
) -> tuple[list[_Choice], float, bool]:
    least = sum(each[-1].risk for each in options)
    if least > max_loss * (1 + 1e-12):
        raise BadInput(
            f"no assignment of these formats is below {max_loss:g} nats per token: the least is {least:.3g}; "
            "raise the limit or add a larger format"
        )
    return _solved(options, "bits", "risk", max_loss)


def _solved(
    options: Sequence[Sequence[_Choice]], objective: str, limited: str, limit: float
) -> tuple[list[_Choice], float, bool]:
    """One choice of each unit with the least sum of `objective` and a sum of `limited` up to `limit`."""
    flat = [choice for each in options for choice in each]
    costs = np.array([getattr(choice, objective) for choice in flat])
    uses = np.array([getattr(choice, limited) for choice in flat])
    # What every unit takes anyway counts on neither side: the tolerance then is one of the differences.
    base = np.concatenate([[min(getattr(c, limited) for c in each)] * len(each) for each in options])
    total = sum(min(getattr(c, limited) for c in each) for each in options)
    room, span = max(limit - total, 0.0), float((uses - base).max()) or 1.0
    scale = float(costs.max()) or 1.0
    margin = 0.0
    for _ in range(3):
        result = _milp(options, costs / scale, (uses - base) / span, room / span - margin)
        if result.x is None:
            break
        picked = [flat[at] for at in np.flatnonzero(result.x > 0.5)]
        if sum(getattr(choice, limited) for choice in picked) <= limit * (1 + 1e-12):
            dual = result.mip_dual_bound if margin == 0 else result.fun - margin
            bound = min(scale * float(dual), sum(getattr(choice, objective) for choice in picked))
            return picked, bound, result.status == 0
        margin += 2 * TOLERANCE  # the solver overstepped within its tolerance: ask for a little less
    key = (lambda c: c.bits) if limited == "bits" else (lambda c: c.risk)
    return [min(each, key=key) for each in options], 0.0, False


def _milp(options: Sequence[Sequence[_Choice]], costs: Any, uses: Any, room: float) -> OptimizeResult:
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    rows = np.repeat(np.arange(len(options)), [len(each) for each in options])
    one_each = csr_array((np.ones(len(rows)), (rows, np.arange(len(rows)))), shape=(len(options), len(rows)))
    return milp(
        costs,
        integrality=np.ones(len(rows), dtype=np.int64),
        bounds=Bounds(0, 1),
        constraints=[LinearConstraint(one_each, 1, 1), LinearConstraint(uses[None, :], ub=max(room, 0.0))],
        options={"mip_rel_gap": 0.0, "time_limit": TIME_LIMIT_S},
    )
