"""Fails a pull request whose models would answer too slowly.

`compare` predicts what a gate file says now and what it said before, and `sarif` says it to a code host.
"""

from latency_gate.comparison import Compared, Line, compare
from latency_gate.sarif import sarif

__all__ = ["Compared", "Line", "compare", "sarif"]
