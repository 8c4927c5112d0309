"""Roundings that know the layer's inputs: GPTQ and AWQ, judged by the error of the layer's output."""
