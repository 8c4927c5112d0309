"""Which layers of a model can be quantized, rated by the damage it would do.

Importing this package loads numpy and no torch; functions that run a model import it when called.
"""

from quant_risk_analyzer.activations import round_cache, round_tokens, rounded_inputs
from quant_risk_analyzer.agreement import Agreement, rank_agreement, spearman
from quant_risk_analyzer.allocation import Allocation, allocate
from quant_risk_analyzer.comparison import Change, Comparison, compare
from quant_risk_analyzer.compensation.awq import awq
from quant_risk_analyzer.compensation.gptq import gptq
from quant_risk_analyzer.drift import LayerDrift, drift_bound, drifts, measured_drift, predict_drift
from quant_risk_analyzer.eigenvalue_drift import measured_eigenvalue_drift, predict_eigenvalue_drift
from quant_risk_analyzer.formats import FORMATS, IntegerFormat, NumberFormat
from quant_risk_analyzer.qat import train_quantized
from quant_risk_analyzer.quantizers import Quantized, quantize
from quant_risk_analyzer.ratings import Thresholds
from quant_risk_analyzer.report import FormatRisk, LayerRisk, RiskReport
from quant_risk_analyzer.risk import rate
from quant_risk_analyzer.rounding import rounded_weights
from quant_risk_analyzer.scales import search_scale
from quant_risk_analyzer.smoothing import migrate, smoothing_factors
from quant_risk_analyzer.together import JointDamage, measure_together
from quant_risk_analyzer.truth import LayerDamage, Measurement, measure
from quant_risk_analyzer.verification import RankCheck, Verification, verify
from quant_risk_analyzer.weights.scan import WeightReport, scan
from quant_risk_analyzer.weights_only import rate_weights

__all__ = [
    "FORMATS",
    "Agreement",
    "Allocation",
    "Change",
    "Comparison",
    "FormatRisk",
    "IntegerFormat",
    "JointDamage",
    "LayerDamage",
    "LayerDrift",
    "LayerRisk",
    "Measurement",
    "NumberFormat",
    "Quantized",
    "RankCheck",
    "RiskReport",
    "Thresholds",
    "Verification",
    "WeightReport",
    "allocate",
    "awq",
    "compare",
    "drift_bound",
    "drifts",
    "gptq",
    "measure",
    "measure_together",
    "measured_drift",
    "measured_eigenvalue_drift",
    "migrate",
    "predict_drift",
    "predict_eigenvalue_drift",
    "quantize",
    "rank_agreement",
    "rate",
    "rate_weights",
    "round_cache",
    "round_tokens",
    "rounded_inputs",
    "rounded_weights",
    "scan",
    "search_scale",
    "smoothing_factors",
    "spearman",
    "train_quantized",
    "verify",
]
