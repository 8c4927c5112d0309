"""What the command stable-ops does, a family a file; `stable_ops.cli` puts them together."""
