"""The command stable-ops: importing a module of `commands` adds its commands to the application."""

from __future__ import annotations

from mfi_command.cli import entry_point
from stable_ops.commands import formats, models, sums, trials
from stable_ops.commands.application import app

__all__ = ["app", "formats", "main", "models", "sums", "trials"]

main = entry_point(app)
