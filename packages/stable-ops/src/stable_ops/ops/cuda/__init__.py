"""Kernels in CUDA C++, compiled at first use; nothing here is imported without a CUDA tensor."""
