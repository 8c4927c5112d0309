"""The command contract of the math-for-infra tools: JSON, exit codes, configuration, whole-or-nothing output."""
