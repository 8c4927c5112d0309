"""The command `latency-predictor`: importing a module of `commands` registers its commands."""

from __future__ import annotations

from latency_predictor.commands import advise, check, measure, predict
from latency_predictor.commands.options import app
from mfi_command.cli import entry_point

__all__ = ["advise", "app", "check", "main", "measure", "predict"]

main = entry_point(app)
