"""The kinds of numbers that weights are made of: how many bits, and how to make floats of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.floating[Any]]
Bytes = bytes | bytearray | memoryview

# Every word of safetensors, and what the other formats have beside.
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "C64": 64, "C128": 128,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F4": 4, "I4": 4, "U4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip
# What a number of at most 16 bits can be is a table, so that such tensors are counted and not computed.
_PLAIN = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
    "I64": "<i8", "F64": "<f8", "F32": "<f4", "F16": "<f2",
}  # fmt: skip
_EXACT_IN_FLOAT32 = 16


def size_of(dtype: str, parameters: int) -> int | None:
    """Bytes that so many of them take; None for a kind that is not known."""
    bits = BITS.get(dtype)
    return None if bits is None else (parameters * bits + 7) // 8


def is_readable(dtype: str) -> bool:
    """Whether `values_of` knows it."""
    return dtype in _PLAIN or dtype in _UNUSUAL


def values_of(dtype: str, data: Bytes) -> Values:
    """The numbers as float32 where that is exact, as float64 elsewhere."""
    if dtype == "F32":
        return np.frombuffer(data, "<f4")
    if BITS[dtype] <= _EXACT_IN_FLOAT32:
        small: Values = table_of(dtype)[patterns_of(dtype, data)]
        return small
    return np.frombuffer(data, _PLAIN[dtype]).astype(np.float64, copy=False)


def has_table(dtype: str) -> bool:
    return BITS[dtype] <= _EXACT_IN_FLOAT32


def patterns_of(dtype: str, data: Bytes) -> NDArray[np.unsignedinteger[Any]]:
    """Each number's bits, as an index into its kind's table."""
    return np.frombuffer(data, "u1" if BITS[dtype] <= 8 else "<u2")  # noqa: PLR2004 - bits of a byte


@cache
def table_of(dtype: str) -> Values:
    """The value of every pattern of bits that a number of this kind can have."""
    patterns = np.arange(1 << BITS[dtype], dtype="u1" if BITS[dtype] <= 8 else "<u2")  # noqa: PLR2004 - as above
    if dtype == "BOOL":
        truths: Values = (patterns != 0).astype(np.float32)
        return truths
    plain = _PLAIN.get(dtype)
    values: Values = patterns.view(plain).astype(np.float32) if plain else _UNUSUAL[dtype](patterns)
    return values


def _brain_float(patterns: NDArray[Any]) -> Values:
    """The upper half of a float32."""
    return (patterns.astype("<u4") << 16).view("<f4")


def _power_of_two(patterns: NDArray[Any]) -> Values:
    """E8M0: an exponent and nothing else."""
    values = np.ldexp(1.0, patterns.astype(np.int32) - 127)
    values[-1] = np.nan
    return values


def _eight_bits(exponent_bits: int, bias: int, *, infinite: bool = False, one_zero: bool = False) -> Callable[..., Any]:
    """A sign, an exponent and a mantissa in eight bits.

    Args:
        exponent_bits: the mantissa has the rest.
        bias: of the exponent.
        infinite: the highest exponent is for infinities and NaN, as in IEEE 754; else only its last mantissa is NaN.
        one_zero: the pattern of the negative zero is the one NaN, and nothing else is.
    """
    mantissa_bits = 7 - exponent_bits

    def decode(patterns: NDArray[Any]) -> Values:
        bits = patterns.astype(np.int32)
        exponent = (bits >> mantissa_bits) & ((1 << exponent_bits) - 1)
        mantissa = bits & ((1 << mantissa_bits) - 1)
        fraction = mantissa / (1 << mantissa_bits)
        small = np.ldexp(fraction, 1 - bias)
        values = np.where(exponent == 0, small, np.ldexp(1 + fraction, exponent - bias)).astype(np.float32)
        highest = exponent == (1 << exponent_bits) - 1
        if one_zero:
            values[0x80] = np.nan
        elif infinite:
            values[highest] = np.where(mantissa[highest] == 0, np.inf, np.nan)
        else:
            values[highest & (mantissa == (1 << mantissa_bits) - 1)] = np.nan
        signed: Values = np.where(bits & 0x80, -values, values).astype(np.float32)
        return signed

    return decode


_UNUSUAL: dict[str, Callable[..., Any]] = {
    "BF16": _brain_float,
    "F8_E4M3": _eight_bits(4, 7),
    "F8_E5M2": _eight_bits(5, 15, infinite=True),
    "F8_E4M3FNUZ": _eight_bits(4, 8, one_zero=True),
    "F8_E5M2FNUZ": _eight_bits(5, 16, one_zero=True),
    "F8_E8M0": _power_of_two,
}
