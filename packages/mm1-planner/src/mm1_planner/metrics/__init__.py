"""A running vLLM read through its metrics, and the service model that they imply."""
