"""Which layers of a model can be quantized, rated by the damage it would do."""
