"""One module for each command of `latency-predictor`."""
