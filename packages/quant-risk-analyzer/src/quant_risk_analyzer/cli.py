"""The command quant-risk-analyzer: each of `commands` adds itself to the application."""

from mfi_command.cli import entry_point
from quant_risk_analyzer.commands import allocate, compare, drift, export, measure, qat, rate, scan
from quant_risk_analyzer.commands.application import app

__all__ = ["allocate", "app", "compare", "drift", "export", "main", "measure", "qat", "rate", "scan"]

main = entry_point(app)

if __name__ == "__main__":
    main()
