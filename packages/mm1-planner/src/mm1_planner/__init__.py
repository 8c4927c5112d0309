"""How many replicas keep the p99 promised: queueing formulas beside simulation.

Importing this package loads nothing: each name loads its module when it is first asked for, so that `--help`
is quick; numba, scipy and simpy load where they are used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mm1_planner.arrivals import Arrivals, Mmpp, Renewal, parse_arrivals
    from mm1_planner.autoscaling.laws import Behavior, Policy, Scaler
    from mm1_planner.autoscaling.simulation import Autoscaled, Floor, Step, autoscale, autoscale_llm
    from mm1_planner.autoscaling.study import AutoscalingStudy, study_autoscaling
    from mm1_planner.classes import ClassesPlan, ClassKept, TrafficClass, parse_class, plan_classes
    from mm1_planner.cost import Gpu, GpuChoice, parse_gpu, plan_gpus
    from mm1_planner.disciplines import simulate_batches, simulate_priorities, simulate_shared
    from mm1_planner.dispersion import Burstiness, Dispersion, Rate, burstiness
    from mm1_planner.export.manifests import Target, hpa, keda
    from mm1_planner.export.rules import prometheus_rule, rules
    from mm1_planner.export.yaml import to_yaml
    from mm1_planner.expression import evaluate
    from mm1_planner.intervals import Estimate
    from mm1_planner.llm.closed_form import LlmAnswer, llm_answer
    from mm1_planner.llm.iteration import Replica, tabulated
    from mm1_planner.llm.planning import LlmPlan, draw_tokens, plan_llm
    from mm1_planner.llm.simulation import LlmSimulation, simulate_llm
    from mm1_planner.llm.slo import LlmSlo, parse_llm_slo
    from mm1_planner.metrics.fit import Coefficient, LiveFit, fit_windows
    from mm1_planner.metrics.series import Snapshot, Window, windows_of
    from mm1_planner.metrics.sources import parse_scrape, query_prometheus, read_scrapes
    from mm1_planner.models.answer import LEVELS, METRICS, Answer
    from mm1_planner.models.batching import Batching
    from mm1_planner.models.erlang import erlang_b, erlang_c
    from mm1_planner.models.erlang_a import ErlangA
    from mm1_planner.models.ggc import GGc
    from mm1_planner.models.gimc import GIMc
    from mm1_planner.models.map_m_c import MAPMc
    from mm1_planner.models.map_ph_1 import MAPPH1
    from mm1_planner.models.mdc import MDc
    from mm1_planner.models.mg1 import MG1
    from mm1_planner.models.mg1ps import MG1PS
    from mm1_planner.models.mgc import MGc
    from mm1_planner.models.mm1 import MM1
    from mm1_planner.models.mmc import MMc
    from mm1_planner.models.mmck import MMcK
    from mm1_planner.models.phases import erlang_phases, mmpp_map, poisson_map, renewal_map, two_moment_phases
    from mm1_planner.models.priority import Priority, PriorityClass
    from mm1_planner.models.sharing import Sharing
    from mm1_planner.planning import plan
    from mm1_planner.plans import Kept, Plan, Point
    from mm1_planner.profiles import Profile, parse_profile
    from mm1_planner.renewal import Autocorrelation
    from mm1_planner.replications import replicate
    from mm1_planner.sensitivity import Course, Needed, Sensitivity
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
    from mm1_planner.side_by_side import solve_batches, solve_priorities, solve_shared
    from mm1_planner.simulation import Simulation, draw, simulate
    from mm1_planner.slo import Slo, parse_slo, parse_slos
    from mm1_planner.solution import Solution, solve
    from mm1_planner.streams import stream
    from mm1_planner.sweeps.closed_form import sweep_formula
    from mm1_planner.sweeps.simulated import grid, sweep
    from mm1_planner.sweeps.store import ParquetStore
    from mm1_planner.trace import Trace, read_trace

_HOMES = {
    "Answer": "mm1_planner.models.answer",
    "Arrivals": "mm1_planner.arrivals",
    "Autocorrelation": "mm1_planner.renewal",
    "autoscale": "mm1_planner.autoscaling.simulation",
    "autoscale_llm": "mm1_planner.autoscaling.simulation",
    "Autoscaled": "mm1_planner.autoscaling.simulation",
    "AutoscalingStudy": "mm1_planner.autoscaling.study",
    "Batching": "mm1_planner.models.batching",
    "Behavior": "mm1_planner.autoscaling.laws",
    "Burstiness": "mm1_planner.dispersion",
    "burstiness": "mm1_planner.dispersion",
    "ClassesPlan": "mm1_planner.classes",
    "ClassKept": "mm1_planner.classes",
    "Coefficient": "mm1_planner.metrics.fit",
    "Constant": "mm1_planner.service",
    "Course": "mm1_planner.sensitivity",
    "Dispersion": "mm1_planner.dispersion",
    "draw": "mm1_planner.simulation",
    "draw_tokens": "mm1_planner.llm.planning",
    "Empirical": "mm1_planner.service",
    "erlang_b": "mm1_planner.models.erlang",
    "erlang_c": "mm1_planner.models.erlang",
    "erlang_phases": "mm1_planner.models.phases",
    "ErlangA": "mm1_planner.models.erlang_a",
    "Estimate": "mm1_planner.intervals",
    "evaluate": "mm1_planner.expression",
    "Exponential": "mm1_planner.service",
    "fit_windows": "mm1_planner.metrics.fit",
    "Floor": "mm1_planner.autoscaling.simulation",
    "Gamma": "mm1_planner.service",
    "GGc": "mm1_planner.models.ggc",
    "GIMc": "mm1_planner.models.gimc",
    "Gpu": "mm1_planner.cost",
    "GpuChoice": "mm1_planner.cost",
    "grid": "mm1_planner.sweeps.simulated",
    "hpa": "mm1_planner.export.manifests",
    "keda": "mm1_planner.export.manifests",
    "Kept": "mm1_planner.plans",
    "LEVELS": "mm1_planner.models.answer",
    "LiveFit": "mm1_planner.metrics.fit",
    "llm_answer": "mm1_planner.llm.closed_form",
    "LlmAnswer": "mm1_planner.llm.closed_form",
    "LlmPlan": "mm1_planner.llm.planning",
    "LlmSimulation": "mm1_planner.llm.simulation",
    "LlmSlo": "mm1_planner.llm.slo",
    "Lognormal": "mm1_planner.service",
    "lognormal_from_percentile": "mm1_planner.service",
    "MAPMc": "mm1_planner.models.map_m_c",
    "MAPPH1": "mm1_planner.models.map_ph_1",
    "MDc": "mm1_planner.models.mdc",
    "METRICS": "mm1_planner.models.answer",
    "MG1": "mm1_planner.models.mg1",
    "MG1PS": "mm1_planner.models.mg1ps",
    "MGc": "mm1_planner.models.mgc",
    "MM1": "mm1_planner.models.mm1",
    "MMc": "mm1_planner.models.mmc",
    "MMcK": "mm1_planner.models.mmck",
    "Mmpp": "mm1_planner.arrivals",
    "mmpp_map": "mm1_planner.models.phases",
    "Needed": "mm1_planner.sensitivity",
    "ParquetStore": "mm1_planner.sweeps.store",
    "parse_arrivals": "mm1_planner.arrivals",
    "parse_class": "mm1_planner.classes",
    "parse_gpu": "mm1_planner.cost",
    "parse_llm_slo": "mm1_planner.llm.slo",
    "parse_profile": "mm1_planner.profiles",
    "parse_scrape": "mm1_planner.metrics.sources",
    "parse_service": "mm1_planner.service",
    "parse_slo": "mm1_planner.slo",
    "parse_slos": "mm1_planner.slo",
    "Plan": "mm1_planner.plans",
    "plan": "mm1_planner.planning",
    "plan_classes": "mm1_planner.classes",
    "plan_gpus": "mm1_planner.cost",
    "plan_llm": "mm1_planner.llm.planning",
    "Point": "mm1_planner.plans",
    "poisson_map": "mm1_planner.models.phases",
    "Policy": "mm1_planner.autoscaling.laws",
    "Priority": "mm1_planner.models.priority",
    "PriorityClass": "mm1_planner.models.priority",
    "Profile": "mm1_planner.profiles",
    "prometheus_rule": "mm1_planner.export.rules",
    "query_prometheus": "mm1_planner.metrics.sources",
    "Rate": "mm1_planner.dispersion",
    "read_scrapes": "mm1_planner.metrics.sources",
    "read_trace": "mm1_planner.trace",
    "Renewal": "mm1_planner.arrivals",
    "renewal_map": "mm1_planner.models.phases",
    "Replica": "mm1_planner.llm.iteration",
    "replicate": "mm1_planner.replications",
    "rules": "mm1_planner.export.rules",
    "Scaler": "mm1_planner.autoscaling.laws",
    "Sensitivity": "mm1_planner.sensitivity",
    "Service": "mm1_planner.service",
    "Sharing": "mm1_planner.models.sharing",
    "simulate": "mm1_planner.simulation",
    "simulate_batches": "mm1_planner.disciplines",
    "simulate_llm": "mm1_planner.llm.simulation",
    "simulate_priorities": "mm1_planner.disciplines",
    "simulate_shared": "mm1_planner.disciplines",
    "Simulation": "mm1_planner.simulation",
    "Slo": "mm1_planner.slo",
    "Snapshot": "mm1_planner.metrics.series",
    "Solution": "mm1_planner.solution",
    "solve": "mm1_planner.solution",
    "solve_batches": "mm1_planner.side_by_side",
    "solve_priorities": "mm1_planner.side_by_side",
    "solve_shared": "mm1_planner.side_by_side",
    "Step": "mm1_planner.autoscaling.simulation",
    "stream": "mm1_planner.streams",
    "study_autoscaling": "mm1_planner.autoscaling.study",
    "sweep": "mm1_planner.sweeps.simulated",
    "sweep_formula": "mm1_planner.sweeps.closed_form",
    "tabulated": "mm1_planner.llm.iteration",
    "Target": "mm1_planner.export.manifests",
    "to_yaml": "mm1_planner.export.yaml",
    "Trace": "mm1_planner.trace",
    "TrafficClass": "mm1_planner.classes",
    "two_moment_phases": "mm1_planner.models.phases",
    "Window": "mm1_planner.metrics.series",
    "windows_of": "mm1_planner.metrics.series",
}

__all__ = [
    "LEVELS",
    "MAPPH1",
    "METRICS",
    "MG1",
    "MG1PS",
    "MM1",
    "Answer",
    "Arrivals",
    "Autocorrelation",
    "Autoscaled",
    "AutoscalingStudy",
    "Batching",
    "Behavior",
    "Burstiness",
    "ClassKept",
    "ClassesPlan",
    "Coefficient",
    "Constant",
    "Course",
    "Dispersion",
    "Empirical",
    "ErlangA",
    "Estimate",
    "Exponential",
    "Floor",
    "GGc",
    "GIMc",
    "Gamma",
    "Gpu",
    "GpuChoice",
    "Kept",
    "LiveFit",
    "LlmAnswer",
    "LlmPlan",
    "LlmSimulation",
    "LlmSlo",
    "Lognormal",
    "MAPMc",
    "MDc",
    "MGc",
    "MMc",
    "MMcK",
    "Mmpp",
    "Needed",
    "ParquetStore",
    "Plan",
    "Point",
    "Policy",
    "Priority",
    "PriorityClass",
    "Profile",
    "Rate",
    "Renewal",
    "Replica",
    "Scaler",
    "Sensitivity",
    "Service",
    "Sharing",
    "Simulation",
    "Slo",
    "Snapshot",
    "Solution",
    "Step",
    "Target",
    "Trace",
    "TrafficClass",
    "Window",
    "autoscale",
    "autoscale_llm",
    "burstiness",
    "draw",
    "draw_tokens",
    "erlang_b",
    "erlang_c",
    "erlang_phases",
    "evaluate",
    "fit_windows",
    "grid",
    "hpa",
    "keda",
    "llm_answer",
    "lognormal_from_percentile",
    "mmpp_map",
    "parse_arrivals",
    "parse_class",
    "parse_gpu",
    "parse_llm_slo",
    "parse_profile",
    "parse_scrape",
    "parse_service",
    "parse_slo",
    "parse_slos",
    "plan",
    "plan_classes",
    "plan_gpus",
    "plan_llm",
    "poisson_map",
    "prometheus_rule",
    "query_prometheus",
    "read_scrapes",
    "read_trace",
    "renewal_map",
    "replicate",
    "rules",
    "simulate",
    "simulate_batches",
    "simulate_llm",
    "simulate_priorities",
    "simulate_shared",
    "solve",
    "solve_batches",
    "solve_priorities",
    "solve_shared",
    "stream",
    "study_autoscaling",
    "sweep",
    "sweep_formula",
    "tabulated",
    "to_yaml",
    "two_moment_phases",
    "windows_of",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
