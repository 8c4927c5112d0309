"""Fails a pull request whose models would answer too slowly.

`read_gate` reads the list of models and their budgets, `judge` predicts each and says which are over.
"""

from latency_gate.gatefile import Entry, read_gate
from latency_gate.verdict import Verdict, judge

__all__ = ["Entry", "Verdict", "judge", "read_gate"]
