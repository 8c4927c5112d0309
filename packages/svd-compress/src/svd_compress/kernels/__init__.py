"""GPU kernels; importing one loads Triton."""
