"""How many bits an element of each dtype takes, and which peak multiplies it."""

from __future__ import annotations

from mfi_command import BadInput

BITS: dict[str, int] = {
    "fp64": 64,
    "fp32": 32,
    "tf32": 32,  # stored as float32; only the multiplication is shorter
    "fp16": 16,
    "bf16": 16,
    "fp8": 8,
    "int8": 8,
    "int4": 4,
}

ALIASES: dict[str, str] = {
    "float64": "fp64",
    "double": "fp64",
    "float32": "fp32",
    "float": "fp32",
    "float16": "fp16",
    "half": "fp16",
    "bfloat16": "bf16",
    "float8": "fp8",
}


def dtype_name(dtype: str) -> str:
    """The short name of a dtype: `"bfloat16"` and `"torch.bfloat16"` become "bf16"; `BadInput` if unknown."""
    short = str(dtype).removeprefix("torch.").lower()
    short = ALIASES.get(short, short)
    if short not in BITS:
        raise BadInput(f"dtype {dtype!r} is not known; give one of {', '.join(BITS)}")
    return short


def stored_bytes(elements: int, dtype: str) -> int:
    """Bytes that `elements` values of `dtype` take, rounded up to whole bytes; scales of a quantized
    format are not counted."""
    return -(-elements * BITS[dtype] // 8)
