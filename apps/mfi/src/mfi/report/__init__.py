"""The whole chain on one model: risk, compression, roofline, latency, plan; one page that opens offline."""
