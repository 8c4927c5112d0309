"""What a plan costs, and which kind of GPU keeps the promises for the least money."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mfi_command import BadInput
from mm1_planner.inputs import not_negative

if TYPE_CHECKING:
    from mm1_planner.plans import Plan

_HOURS_PER_MONTH = 730.0


def cost_of(servers: int, rate_per_s: float, price: float) -> dict[str, float]:
    """`per_server_hour`, `per_hour`, `per_month` (730 h) and, of traffic, `per_million_requests`."""
    cost = {
        "per_server_hour": price,
        "per_hour": servers * price,
        "per_month": servers * price * _HOURS_PER_MONTH,
    }
    return cost | ({"per_million_requests": cost["per_hour"] / rate_per_s / 3600 * 1e6} if rate_per_s else {})


@dataclass(frozen=True)
class Gpu:
    """A kind of server to choose from.

    Attributes
    ----------
    name : str
        Such as `H100`.
    price_per_hour : float
        Of one server, in any currency.
    service : str
        Its service time: a law or an expression over the trace's columns, as for `plan`.
    """

    name: str
    price_per_hour: float
    service: str


@dataclass(frozen=True)
class GpuChoice:
    """Plans by kind of server, the cheapest feasible one first."""

    plans: tuple[tuple[Gpu, Plan], ...]

    @property
    def best(self) -> Plan:
        """The cheapest that keeps the promises; an infeasible plan if none does."""
        return self.plans[0][1]

    def to_dict(self) -> list[dict[str, object]]:
        """Name, servers, cost, and whether and why not feasible, of each."""
        return [
            {
                "name": gpu.name,
                "service": gpu.service,
                "feasible": plan.feasible,
                "servers": plan.servers,
                "cost": plan.cost,
                "reason": plan.reason,
            }
            for gpu, plan in self.plans
        ]


def parse_gpu(text: str) -> Gpu:
    """A kind of server from `NAME=PRICE:SERVICE`, such as `H100=4.5:exp:0.2`.

    Raises
    ------
    BadInput
        If the text has another form.

    Examples
    --------
    >>> parse_gpu("L4=0.8:exp:900ms")
    Gpu(name='L4', price_per_hour=0.8, service='exp:900ms')
    """
    name, equals, rest = text.partition("=")
    price, colon, service = rest.partition(":")
    try:
        number = float(price)
    except ValueError:
        number = -1.0
    if not (equals and colon and name.strip() and service.strip()) or number < 0:
        raise BadInput(
            f"GPU {text!r} is not understood; expected NAME=PRICE_PER_HOUR:SERVICE, such as H100=4.5:exp:0.2"
        )
    return Gpu(name.strip(), not_negative("price", number, largest=1e9), service.strip())


def plan_gpus(gpus: Sequence[Gpu | str], **asked: Any) -> GpuChoice:
    """Plan for each kind of server, and put the cheapest that keeps the promises first.

    Parameters
    ----------
    gpus : sequence of Gpu or str
        As for `parse_gpu`.
    **asked
        Everything else as for `plan`, without `service` and `cost_per_server_hour`.

    Raises
    ------
    BadInput
        If there is none, two have one name, or as for `plan`.

    Examples
    --------
    >>> choice = plan_gpus(["A=1:exp:0.4", "B=3:exp:0.2"], arrival_rate_per_s=10, slo="p99_wait<0.5")
    >>> [(gpu.name, plan.servers) for gpu, plan in choice.plans]
    [('A', 7), ('B', 4)]
    """
    from mm1_planner.planning import plan

    kinds = [gpu if isinstance(gpu, Gpu) else parse_gpu(gpu) for gpu in gpus]
    if not kinds or len({gpu.name for gpu in kinds}) < len(kinds):
        raise BadInput(f"{len(kinds)} kinds of GPU given, two with one name or none; name each once")
    plans = [
        (gpu, plan(service=gpu.service, cost_per_server_hour=gpu.price_per_hour, **asked)) for gpu in kinds
    ]
    return GpuChoice(tuple(sorted(plans, key=lambda each: _price(each[1]))))


def _price(plan: Plan) -> float:
    return plan.cost["per_hour"] if plan.cost is not None else float("inf")
