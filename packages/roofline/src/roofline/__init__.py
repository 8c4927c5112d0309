"""What limits a model on this hardware: measured ceilings and exact operation counts.

Importing this package loads neither numpy, torch nor matplotlib: the functions that need them do.
"""

from roofline.analysis import Analysis, analyze
from roofline.changes import Gain, batch_sweep, fuse, fusion_speed_up, what_if
from roofline.configs import known_models, read_config
from roofline.dispatch import Traced, trace
from roofline.hardware import Device, attainable, device, devices
from roofline.kernels import Kernel, KernelAnalysis, analyze_kernels, analyze_torch
from roofline.measurement import Measurement, Rate, measure
from roofline.operators import Operator
from roofline.placing import Placed, place
from roofline.plot import draw_roofline
from roofline.shapes import ModelShape, model_shape
from roofline.sweep_plot import draw_sweep

__all__ = [
    "Analysis",
    "Device",
    "Gain",
    "Kernel",
    "KernelAnalysis",
    "Measurement",
    "ModelShape",
    "Operator",
    "Placed",
    "Rate",
    "Traced",
    "analyze",
    "analyze_kernels",
    "analyze_torch",
    "attainable",
    "batch_sweep",
    "device",
    "devices",
    "draw_roofline",
    "draw_sweep",
    "fuse",
    "fusion_speed_up",
    "known_models",
    "measure",
    "model_shape",
    "place",
    "read_config",
    "trace",
    "what_if",
]
