"""The five stages of the chain: each asks one tool and gives its section of the page and its JSON."""

from mfi.report.stages.compression import compression_stage
from mfi.report.stages.latency import latency_stage
from mfi.report.stages.plan import plan_stage
from mfi.report.stages.risk import risk_stage
from mfi.report.stages.roofline import roofline_stage
from mfi.report.stages.stage import Stage, Tick

__all__ = [
    "Stage",
    "Tick",
    "compression_stage",
    "latency_stage",
    "plan_stage",
    "risk_stage",
    "roofline_stage",
]
