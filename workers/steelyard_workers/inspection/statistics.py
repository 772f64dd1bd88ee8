"""A tensor's statistics and digest, block by block: however large it is, a few blocks are in memory.

Means and squared deviations of blocks are merged pairwise (Chan, Golub and LeVeque), which stays exact where sums of
squares would cancel. Numbers of at most 16 bits are counted by their pattern, and all is computed from the counts.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steelyard_contracts.weights import HISTOGRAM_BINS, Histogram, TensorStatistics
from steelyard_workers.inspection.dtypes import Values, has_table, is_readable, patterns_of, table_of, values_of

Blocks = Callable[[], Iterator[bytes]]
"""Makes the tensor's bytes anew, in blocks that hold whole numbers."""

# Below this, looking up every number costs less than going through a table of all that there could be.
_WORTH_COUNTING = 200_000
# Between these, float32 neither overflows nor vanishes where values are told into steps.
_LEAST_IN_FLOAT32, _MOST_IN_FLOAT32 = 1e-30, 1e30


@dataclass(frozen=True, slots=True)
class Measured:
    digest: str
    statistics: TensorStatistics | None


def measure(dtype: str, blocks: Blocks, *, parameters: int, histogram: bool) -> Measured:
    """Reads the tensor once, and a second time for the histogram of one that is larger than a block."""
    digest = hashlib.sha256()

    def hashed() -> Iterator[bytes]:
        for block in blocks():
            digest.update(block)
            yield block

    if not is_readable(dtype):
        for _ in hashed():
            pass
        return Measured(digest.hexdigest(), None)
    if has_table(dtype) and parameters >= _WORTH_COUNTING:
        statistics = _by_counting(dtype, hashed(), histogram=histogram)
    else:
        statistics = _by_blocks(dtype, hashed(), blocks, histogram=histogram)
    return Measured(digest.hexdigest(), statistics)


@dataclass(slots=True)
class Moments:
    """What is known of the finite values so far."""

    count: int = 0
    mean: float = 0.0
    deviation: float = 0.0  # the sum of squared distances from the mean
    low: float = math.inf
    high: float = -math.inf
    zeros: int = 0
    nan: int = 0
    inf: int = 0

    def add(self, values: Values) -> None:
        if not values.size:
            return
        low, high = float(values.min()), float(values.max())
        if not (math.isfinite(low) and math.isfinite(high)):  # a NaN among them is the minimum too
            finite = np.isfinite(values)
            self.nan += int(np.isnan(values).sum())
            self.inf += int(np.isinf(values).sum())
            values = values[finite]
            if not values.size:
                return
            low, high = float(values.min()), float(values.max())
        wide = values.astype(np.float64, copy=False)
        mean = float(wide.mean())
        centred = wide - mean
        np.square(centred, out=centred)  # and not np.dot, whose threads wait for each other on a busy machine
        self._merge(values.size, mean, float(centred.sum()))
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.zeros += int(values.size - np.count_nonzero(values))

    def add_counts(self, table: Values, counts: NDArray[np.int64]) -> None:
        """The same for values of which it is known how often each occurs."""
        self.nan += int(counts[np.isnan(table)].sum())
        self.inf += int(counts[np.isinf(table)].sum())
        there = np.isfinite(table) & (counts > 0)
        values, often = table[there].astype(np.float64), counts[there]
        if not values.size:
            return
        total = int(often.sum())
        mean = float((values * often).sum() / total)
        self._merge(total, mean, float((np.square(values - mean) * often).sum()))
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        self.zeros += int(often[values == 0].sum())

    def _merge(self, count: int, mean: float, deviation: float) -> None:
        together = self.count + count
        apart = mean - self.mean
        self.deviation += deviation + apart * apart * self.count * count / together
        self.mean += apart * count / together
        self.count = together

    def as_statistics(self, histogram: Histogram | None) -> TensorStatistics:
        everything = self.count + self.nan + self.inf
        if not self.count:
            return TensorStatistics(min=None, max=None, mean=None, std=None, zeros=0, nan=self.nan, inf=self.inf)
        return TensorStatistics(
            min=self.low,
            max=self.high,
            mean=_finite(self.mean),
            std=_finite(math.sqrt(max(self.deviation, 0.0) / self.count)),
            zeros=self.zeros / everything,
            nan=self.nan,
            inf=self.inf,
            histogram=histogram,
        )


def _by_blocks(dtype: str, first: Iterable[bytes], again: Blocks, *, histogram: bool) -> TensorStatistics:
    moments = Moments()
    kept: Values | None = None
    seen = 0
    with np.errstate(all="ignore"):  # what overflows is said to be infinite, and left out
        for block in first:
            values = values_of(dtype, block)
            moments.add(values)
            kept = values if not seen else None
            seen += 1
        steps = _Steps(moments.low, moments.high) if histogram and moments.count else None
        if steps is None:
            return moments.as_statistics(None)
        for values in [kept] if kept is not None else (values_of(dtype, block) for block in again()):
            steps.add(values[np.isfinite(values)] if moments.nan or moments.inf else values)
    return moments.as_statistics(steps.as_histogram())


def _by_counting(dtype: str, blocks: Iterable[bytes], *, histogram: bool) -> TensorStatistics:
    table = table_of(dtype)
    counts = np.zeros(len(table), dtype=np.int64)
    for block in blocks:
        counts += np.bincount(patterns_of(dtype, block), minlength=len(table))
    moments = Moments()
    moments.add_counts(table, counts)
    if not histogram or not moments.count:
        return moments.as_statistics(None)
    steps = _Steps(moments.low, moments.high)
    there = np.isfinite(table) & (counts > 0)
    steps.add(table[there].astype(np.float64), counts[there])
    return moments.as_statistics(steps.as_histogram())


class _Steps:
    """Counts values in equal steps from the lowest to the highest."""

    def __init__(self, low: float, high: float) -> None:
        self._low, self._high = low, high
        self._counts = np.zeros(HISTOGRAM_BINS, dtype=np.int64)
        width = high - low
        # Values that are all the same, or too far apart for a float, fall into the first step.
        is_usable = 0 < width < math.inf and math.isfinite(HISTOGRAM_BINS / width)
        self._scale = HISTOGRAM_BINS / width if is_usable else 0.0
        self._needs_float64 = not _LEAST_IN_FLOAT32 < width < _MOST_IN_FLOAT32

    def add(self, values: Values, weights: NDArray[np.int64] | None = None) -> None:
        if not self._scale:
            self._counts[0] += values.size if weights is None else weights.sum()
            return
        if self._needs_float64:
            values = values.astype(np.float64)
        places = ((values - values.dtype.type(self._low)) * values.dtype.type(self._scale)).astype(np.intp)
        found = np.bincount(places, weights=weights, minlength=HISTOGRAM_BINS).astype(np.int64)
        self._counts += found[:HISTOGRAM_BINS]
        self._counts[-1] += found[HISTOGRAM_BINS:].sum()  # the highest value ends the last step

    def as_histogram(self) -> Histogram:
        return Histogram(low=self._low, high=self._high, counts=[int(count) for count in self._counts])


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
