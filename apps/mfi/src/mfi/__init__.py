"""The whole chain of inference mathematics on one model: risk, compression, roofline, latency, replicas."""
