"""Element types: their width, and which of them hold quantized values."""

from __future__ import annotations

from collections.abc import Collection

BITS = {
    **dict.fromkeys(("int2", "uint2"), 2),
    **dict.fromkeys(("int4", "uint4", "float4e2m1"), 4),
    **dict.fromkeys(("float6e2m3", "float6e3m2"), 6),
    **dict.fromkeys(("bool", "int8", "uint8", "float8_e4m3fn", "float8_e5m2"), 8),
    **dict.fromkeys(("float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz"), 8),
    **dict.fromkeys(("float8e8m0",), 8),
    **dict.fromkeys(("int16", "uint16", "float16", "bfloat16"), 16),
    **dict.fromkeys(("int32", "uint32", "float32"), 32),
    **dict.fromkeys(("int64", "uint64", "float64", "complex64"), 64),
    "complex128": 128,
}

# What weights and activations are quantized to; an int32 bias is neither.
QUANTIZED = {"int2", "uint2", "int4", "uint4", "int8", "uint8", "int16", "uint16"}


def size_of(dtype: str, elements: int) -> int:
    """The size of that many elements; 0 for strings and resources, which have no fixed size."""
    return (elements * BITS.get(dtype, 0) + 7) // 8


def is_real(dtype: str, scales: Collection[float]) -> bool:
    """Whether elements stand for real numbers: floats, or integers with a scale."""
    return "float" in dtype or bool(scales)
