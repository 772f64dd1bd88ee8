"""A run of points as bytes, and as the summaries that charts are drawn from. Pure.

Packed: three columns (steps and times as differences, values as they are), little endian, through zlib.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

CHUNK = 1024
SUMMARY = 16
_LEVEL = 6
_WIDTH = 24  # bytes of a point before it is packed

_FINITE, _NAN, _INFINITY, _MINUS_INFINITY = range(4)
_VALUES = {_NAN: math.nan, _INFINITY: math.inf, _MINUS_INFINITY: -math.inf}
WORDS = {_NAN: "NaN", _INFINITY: "Infinity", _MINUS_INFINITY: "-Infinity"}


class Point(NamedTuple):
    """`at`: milliseconds since 1970, or 0 where nobody knows."""

    step: int
    value: float
    at: int


@dataclass(frozen=True, slots=True)
class Summary:
    """`count` and `total` are of the finite points; without any, there is neither a lowest nor a highest."""

    step: int
    low: float | None
    high: float | None
    total: float
    count: int
    special: int


def special_of(value: float) -> int:
    """What a database cannot be trusted with as a number: 0 finite, 1 not a number, 2 infinity, 3 minus infinity."""
    if math.isfinite(value):
        return _FINITE
    if math.isnan(value):
        return _NAN
    return _INFINITY if value > 0 else _MINUS_INFINITY


def value_of(value: float | None, special: int) -> float:
    return _VALUES[special] if special else float(value or 0.0)


def as_point(step: int, value: float | None, special: int, at: int) -> Point:
    """A row of loose points as a point."""
    return Point(step, value_of(value, special), at)


def pack(points: Sequence[Point]) -> bytes:
    """Points by ascending step."""
    steps = [point.step for point in points]
    times = [point.at for point in points]
    columns = [*_differences(steps), *(point.value for point in points), *_differences(times)]
    number = len(points)
    return zlib.compress(struct.pack(f"<{number}q{number}d{number}q", *columns), _LEVEL)


def unpack(data: bytes) -> list[Point]:
    plain = zlib.decompress(data)
    number = len(plain) // _WIDTH
    columns = struct.unpack(f"<{number}q{number}d{number}q", plain)
    steps, times = accumulate(columns[:number]), accumulate(columns[2 * number :])
    return [Point(*point) for point in zip(steps, columns[number : 2 * number], times, strict=True)]


def summaries(points: Sequence[Point]) -> Iterator[Summary]:
    """One for every `SUMMARY` points."""
    for start in range(0, len(points), SUMMARY):
        part = points[start : start + SUMMARY]
        finite = [point.value for point in part if math.isfinite(point.value)]
        yield Summary(
            step=part[-1].step,
            low=min(finite, default=None),
            high=max(finite, default=None),
            total=math.fsum(finite),
            count=len(finite),
            special=max(special_of(point.value) for point in part),
        )


def _differences(numbers: list[int]) -> list[int]:
    return numbers[:1] + [after - before for before, after in pairwise(numbers)]
