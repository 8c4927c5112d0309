"""How many replicas keep the p99 promised: queueing formulas beside simulation."""
