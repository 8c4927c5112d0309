"""Numeric operators for inference whose error is known."""
