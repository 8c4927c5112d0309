"""The whole chain of inference mathematics on one model: risk, compression, roofline, latency, replicas.

A command, not a library: the libraries it joins are the seven tools.
"""

__all__: list[str] = []
