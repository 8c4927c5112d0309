"""How many replicas keep the p99 promised: queueing formulas beside simulation.

Importing this package loads nothing: each name loads its module when it is first asked for, so that `--help`
is quick; numba, scipy and simpy load where they are used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mm1_planner.dispersion import Burstiness, Dispersion, burstiness
    from mm1_planner.expression import evaluate
    from mm1_planner.intervals import Estimate
    from mm1_planner.llm.closed_form import LlmAnswer, llm_answer
    from mm1_planner.llm.iteration import Replica, tabulated
    from mm1_planner.llm.planning import LlmPlan, LlmSlo, draw_tokens, parse_llm_slo, plan_llm
    from mm1_planner.llm.simulation import LlmSimulation, simulate_llm
    from mm1_planner.models.answer import LEVELS, METRICS, Answer
    from mm1_planner.models.erlang import erlang_b, erlang_c
    from mm1_planner.models.erlang_a import ErlangA
    from mm1_planner.models.mdc import MDc
    from mm1_planner.models.mg1 import MG1
    from mm1_planner.models.mgc import MGc
    from mm1_planner.models.mm1 import MM1
    from mm1_planner.models.mmc import MMc
    from mm1_planner.models.mmck import MMcK
    from mm1_planner.planning import Plan, Point, plan
    from mm1_planner.service import (
        Constant,
        Empirical,
        Exponential,
        Gamma,
        Lognormal,
        Service,
        lognormal_from_percentile,
        parse_service,
    )
    from mm1_planner.simulation import Simulation, draw, simulate
    from mm1_planner.slo import Slo, parse_slo
    from mm1_planner.solution import Solution, solve
    from mm1_planner.streams import stream
    from mm1_planner.trace import Trace, read_trace

_HOMES = {
    "Answer": "mm1_planner.models.answer",
    "Burstiness": "mm1_planner.dispersion",
    "Constant": "mm1_planner.service",
    "Dispersion": "mm1_planner.dispersion",
    "Empirical": "mm1_planner.service",
    "ErlangA": "mm1_planner.models.erlang_a",
    "Estimate": "mm1_planner.intervals",
    "Exponential": "mm1_planner.service",
    "Gamma": "mm1_planner.service",
    "LEVELS": "mm1_planner.models.answer",
    "LlmAnswer": "mm1_planner.llm.closed_form",
    "LlmPlan": "mm1_planner.llm.planning",
    "LlmSimulation": "mm1_planner.llm.simulation",
    "LlmSlo": "mm1_planner.llm.planning",
    "Lognormal": "mm1_planner.service",
    "METRICS": "mm1_planner.models.answer",
    "MDc": "mm1_planner.models.mdc",
    "MG1": "mm1_planner.models.mg1",
    "MGc": "mm1_planner.models.mgc",
    "MM1": "mm1_planner.models.mm1",
    "MMc": "mm1_planner.models.mmc",
    "MMcK": "mm1_planner.models.mmck",
    "Plan": "mm1_planner.planning",
    "Point": "mm1_planner.planning",
    "Replica": "mm1_planner.llm.iteration",
    "Service": "mm1_planner.service",
    "Simulation": "mm1_planner.simulation",
    "Slo": "mm1_planner.slo",
    "Solution": "mm1_planner.solution",
    "Trace": "mm1_planner.trace",
    "burstiness": "mm1_planner.dispersion",
    "draw": "mm1_planner.simulation",
    "draw_tokens": "mm1_planner.llm.planning",
    "erlang_b": "mm1_planner.models.erlang",
    "erlang_c": "mm1_planner.models.erlang",
    "evaluate": "mm1_planner.expression",
    "llm_answer": "mm1_planner.llm.closed_form",
    "lognormal_from_percentile": "mm1_planner.service",
    "parse_llm_slo": "mm1_planner.llm.planning",
    "parse_service": "mm1_planner.service",
    "parse_slo": "mm1_planner.slo",
    "plan": "mm1_planner.planning",
    "plan_llm": "mm1_planner.llm.planning",
    "read_trace": "mm1_planner.trace",
    "simulate": "mm1_planner.simulation",
    "simulate_llm": "mm1_planner.llm.simulation",
    "solve": "mm1_planner.solution",
    "stream": "mm1_planner.streams",
    "tabulated": "mm1_planner.llm.iteration",
}

__all__ = [
    "LEVELS",
    "METRICS",
    "MG1",
    "MM1",
    "Answer",
    "Burstiness",
    "Constant",
    "Dispersion",
    "Empirical",
    "ErlangA",
    "Estimate",
    "Exponential",
    "Gamma",
    "LlmAnswer",
    "LlmPlan",
    "LlmSimulation",
    "LlmSlo",
    "Lognormal",
    "MDc",
    "MGc",
    "MMc",
    "MMcK",
    "Plan",
    "Point",
    "Replica",
    "Service",
    "Simulation",
    "Slo",
    "Solution",
    "Trace",
    "burstiness",
    "draw",
    "draw_tokens",
    "erlang_b",
    "erlang_c",
    "evaluate",
    "llm_answer",
    "lognormal_from_percentile",
    "parse_llm_slo",
    "parse_service",
    "parse_slo",
    "plan",
    "plan_llm",
    "read_trace",
    "simulate",
    "simulate_llm",
    "solve",
    "stream",
    "tabulated",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
