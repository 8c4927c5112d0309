"""Budgets for the latency of models, and the values that were last accepted."""

from latency_predictor.gate.accepted import read_accepted, write_accepted
from latency_predictor.gate.gatefile import Entry, read_gate
from latency_predictor.gate.verdict import Verdict, judge

__all__ = ["Entry", "Verdict", "judge", "read_accepted", "read_gate", "write_accepted"]
