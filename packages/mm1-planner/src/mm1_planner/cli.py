"""The command `mm1-planner`: importing a module of `commands` registers its command."""

from __future__ import annotations

from mfi_command.cli import entry_point
from mm1_planner.commands import autoscale, export, fit, llm, plan, simulate, solve, sweep, trace
from mm1_planner.commands.options import app

__all__ = ["app", "autoscale", "export", "fit", "llm", "main", "plan", "simulate", "solve", "sweep", "trace"]

main = entry_point(app)
