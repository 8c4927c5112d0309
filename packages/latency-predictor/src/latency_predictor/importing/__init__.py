"""Measurements of other tools as rows: model, phase, batch, positions, latency_s."""

from latency_predictor.importing.readers import FORMATS, read_measurements

__all__ = ["FORMATS", "read_measurements"]
