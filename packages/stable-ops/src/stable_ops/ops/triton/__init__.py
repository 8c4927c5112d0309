"""The operators as Triton kernels, for CUDA tensors of float16, bfloat16 and float32.

Importing this package loads neither torch nor Triton; its modules do, one for each family of operators.
"""
