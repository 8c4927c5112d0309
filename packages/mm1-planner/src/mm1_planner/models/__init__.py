"""Queues with a formula, one in each file, all with the same verbs."""
