"""Priorities, sharing and batches solved twice: by formula and by simulation."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial

from mfi_command import BadInput
from mm1_planner.disciplines import simulate_batches, simulate_priorities, simulate_shared
from mm1_planner.models.answer import Answer
from mm1_planner.models.batching import Batching
from mm1_planner.models.mg1ps import MG1PS
from mm1_planner.models.priority import Priority, PriorityClass
from mm1_planner.models.sharing import Sharing
from mm1_planner.service import Exponential, Service, parse_service
from mm1_planner.solution import Solution, beside


def solve_priorities(
    classes: Sequence[PriorityClass],
    *,
    servers: int = 1,
    customers: int | None = None,
    engine: str = "fast",
    seed: int = 0,
    simulated: bool = True,
) -> list[Solution]:
    """Each class of a queue with non-preemptive priorities, the most urgent first.

    Parameters as for `Priority` and `simulate_priorities`; errors raised too.
    """
    queue = Priority(classes, servers)
    answers = [queue.answer(number) for number in range(len(classes))]
    if not simulated or not any(answer.stable for answer in answers):
        return [beside(answer, None) for answer in answers]
    runs = simulate_priorities(classes, servers=servers, customers=customers, engine=engine, seed=seed)
    # One run measures all classes.
    return [beside(answer, partial(runs.__getitem__, number)) for number, answer in enumerate(answers)]


def solve_shared(
    *,
    arrival_rate_per_s: float,
    work: Service | str | float,
    speeds: Sequence[float] = (1.0,),
    limited: bool = False,
    customers: int | None = None,
    engine: str = "fast",
    seed: int = 0,
    simulated: bool = True,
) -> Solution:
    """Customers served side by side; the default speeds are processor sharing.

    Exact for exponential work, and for the mean of any work with plain processor sharing. Parameters as for
    `Sharing` and `simulate_shared`; errors raised too.
    """
    law = parse_service(work)
    answer = _shared(arrival_rate_per_s, law, tuple(speeds), limited)
    run = partial(
        simulate_shared,
        arrival_rate_per_s=arrival_rate_per_s,
        work=law,
        speeds=speeds,
        limited=limited,
        customers=customers,
        engine=engine,
        seed=seed,
    )
    return beside(answer, run if simulated else None)


def _shared(rate: float, law: Service, speeds: tuple[float, ...], limited: bool) -> Answer:
    if not isinstance(law, Exponential) and len(speeds) == 1 and not limited:
        return MG1PS(rate * 1.0, _faster(law, speeds[0])).answer()
    answer = Sharing(rate, law.mean_s, speeds, limited=limited).answer()
    if isinstance(law, Exponential) or not answer.stable:
        return answer
    # Without a limit the number in the system does not depend on the law of the work, its sojourns do.
    known = "approximate, for exponential work: simulate"
    return dataclasses.replace(answer, method=known if limited else f"exact means, percentiles {known}")


def _faster(law: Service, speed: float) -> Service:
    from mm1_planner.models.excess import scaled

    return law if speed == 1 else scaled(law, 1 / speed)


def solve_batches(
    *,
    arrival_rate_per_s: float,
    fixed_s: float,
    each_s: float,
    largest: int | None = None,
    customers: int | None = None,
    engine: str = "fast",
    seed: int = 0,
    simulated: bool = True,
) -> Solution:
    """A server that takes all who wait, up to a limit, in one batch of `fixed_s + n * each_s` seconds.

    Parameters as for `Batching` and `simulate_batches`; errors raised too.
    """
    answer = Batching(arrival_rate_per_s, fixed_s, each_s, largest).answer()
    run = partial(
        simulate_batches,
        arrival_rate_per_s=arrival_rate_per_s,
        fixed_s=fixed_s,
        each_s=each_s,
        largest=largest,
        customers=customers,
        engine=engine,
        seed=seed,
    )
    return beside(answer, run if simulated else None)


def parse_class(text: str) -> PriorityClass:
    """A class from `RATE=SERVICE`, such as `3/s=exp:0.1`.

    Raises
    ------
    BadInput
        If the text is not of that form.
    """
    from mm1_planner.inputs import parse_rate_per_s

    rate, separator, law = text.partition("=")
    if not separator:
        raise BadInput(f"class {text!r}; expected RATE=SERVICE such as 3/s=exp:0.1")
    return PriorityClass(parse_rate_per_s("arrival rate of a class", rate), parse_service(law.strip()))
