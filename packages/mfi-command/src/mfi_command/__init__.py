"""The command contract of the math-for-infra tools: JSON, exit codes, configuration, whole-or-nothing output.

Importing this package loads nothing but the standard library; `mfi_command.cli` loads Typer.
"""

from mfi_command.errors import BadInput, require
from mfi_command.files import atomic_directory, atomic_file

__all__ = ["BadInput", "atomic_directory", "atomic_file", "require"]
