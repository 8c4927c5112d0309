"""Bits for each layer under a budget: the least predicted damage that fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from checkpoint_lens.layers import block_of
from mfi_command import BadInput
from quant_risk_analyzer.formats import FORMATS, bits_per_weight
from quant_risk_analyzer.report import LayerRisk, RiskReport

FUSED = {"q": "qkv", "k": "qkv", "v": "qkv", "gate": "gate_up", "up": "gate_up"}


@dataclass(frozen=True)
class Allocation:
    """A format for each layer.

    Attributes
    ----------
    assignment
        Format by layer name.
    average_bits
        Bits per weight over the rated layers, scales of 16 bits counted.
    predicted_loss_increase
        Sum of the layers' risks, nats per token: layers are taken to do their damage independently.
    lower_bound
        No assignment within the budget has a smaller predicted sum.
    """

    assignment: Mapping[str, str]
    average_bits: float
    predicted_loss_increase: float
    lower_bound: float

    def to_dict(self) -> dict[str, object]:
        """As a plain dictionary."""
        return {**self.__dict__, "assignment": dict(self.assignment)}


@dataclass(frozen=True)
class _Choice:
    format: str
    bits: float
    risk: float


def allocate(report: RiskReport, *, average_bits: float, fused: bool = True) -> Allocation:
    r"""Choose a format for each layer so that the summed risk is least under a budget of bits.

    .. math:: \min_f \sum_l \text{risk}_l(f_l) \quad\text{with}\quad \sum_l b_l(f_l) \le B

    Each unit walks down the lower convex hull of its (bits, risk) points, the steepest step of all units
    first, while it fits; what is left of the budget then goes to the best single improvements that fit.

    Parameters
    ----------
    report
        From `rate`, with the candidate formats.
    average_bits
        Budget per weight of the rated layers, scales of 16 bits included.
    fused
        q, k and v of a block share a format, and gate and up: runtimes fuse these layers and refuse a mix.

    Returns
    -------
    Allocation
        Its distance from `lower_bound`, the optimum with fractional choices, says how much an exact solution
        could still gain.

    Raises
    ------
    BadInput
        If the smallest format everywhere is over the budget.

    Notes
    -----
    Cost O(n log n) for n layers x formats. Source: Sinha and Zoltners, "The multiple-choice knapsack
    problem", Operations Research 1979.
    """
    units = [_choices(unit, report) for unit in _units(report.layers, fused=fused).values()]
    names = list(_units(report.layers, fused=fused).values())
    budget = average_bits * sum(layer.shape[0] * layer.shape[1] for layer in report.layers)
    chosen = [min(options, key=lambda option: (option.bits, option.risk)) for options in units]
    spent = sum(option.bits for option in chosen)
    if spent > budget * (1 + 1e-12):
        least = spent / budget * average_bits
        raise BadInput(
            f"{average_bits} bits per weight cannot hold these formats: the smallest take {least:.3f}, "
            "scales included; raise the budget or add a smaller format"
        )
    bound = _walk_hulls(units, chosen, budget)
    _fill(units, chosen, budget)
    return Allocation(
        assignment={
            layer.name: option.format for unit, option in zip(names, chosen, strict=True) for layer in unit
        },
        average_bits=sum(option.bits for option in chosen) / budget * average_bits,
        predicted_loss_increase=sum(option.risk for option in chosen),
        lower_bound=bound,
    )


def _units(layers: Sequence[LayerRisk], *, fused: bool) -> dict[object, list[LayerRisk]]:
    units: dict[object, list[LayerRisk]] = {}
    for layer in layers:
        block = block_of(layer.name)
        key = (
            (block, FUSED[layer.role]) if fused and block is not None and layer.role in FUSED else layer.name
        )
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


def _hull(options: Sequence[_Choice]) -> list[_Choice]:
    """Lower convex hull of the points (bits, risk), falling part, fewest bits first."""
    hull: list[_Choice] = []
    for point in sorted(options, key=lambda option: (option.bits, option.risk)):
        if hull and point.risk >= hull[-1].risk:
            continue
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) <= _slope(hull[-2], point):
            hull.pop()
        hull.append(point)
    return hull


def _slope(first: _Choice, second: _Choice) -> float:
    """Risk saved per bit."""
    return (first.risk - second.risk) / (second.bits - first.bits)


def _walk_hulls(units: Sequence[Sequence[_Choice]], chosen: list[_Choice], budget: float) -> float:
    """Take the hull steps in the order of their slopes; return the bound of the fractional optimum."""
    steps = [
        (_slope(first, second), unit, second)
        for unit, options in enumerate(units)
        for hull in [_hull(options)]
        for first, second in pairwise(hull)
    ]
    left = budget - sum(option.bits for option in chosen)
    # The first step that does not fit is taken in part: no assignment does better than this.
    for slope, unit, option in sorted(steps, key=lambda step: -step[0]):
        cost = option.bits - chosen[unit].bits
        if cost > left:
            return sum(each.risk for each in chosen) - slope * left
        left -= cost
        chosen[unit] = option
    return sum(each.risk for each in chosen)


def _fill(units: Sequence[Sequence[_Choice]], chosen: list[_Choice], budget: float) -> None:
    while True:
        left = budget - sum(option.bits for option in chosen)
        better = [
            (chosen[unit].risk - option.risk, unit, option)
            for unit, options in enumerate(units)
            for option in options
            if option.risk < chosen[unit].risk and option.bits - chosen[unit].bits <= left
        ]
        if not better:
            return
        _, unit, option = max(better, key=lambda each: each[0])
        chosen[unit] = option
