"""Two tensors of one kind and shape, compared block by block.

distance = Distance("F32")
distance.add(left_block, right_block)
distance.measures()
"""

from __future__ import annotations

import math

import numpy as np

from steelyard_contracts.weights import Measures
from steelyard_workers.inspection.dtypes import BITS, Bytes, values_of


class Distance:
    """Sums over the places where both sides hold a finite number; what differs is told by the bits, NaN included."""

    def __init__(self, dtype: str) -> None:
        self._dtype = dtype
        self._bits = f"<u{BITS[dtype] // 8}"
        self._left = self._right = self._product = self._apart = self._largest = 0.0
        self._count = self._changed = 0

    def add(self, left: Bytes, right: Bytes) -> None:
        """Blocks of the same length, of whole numbers."""
        changed = np.frombuffer(left, self._bits) != np.frombuffer(right, self._bits)
        self._count += changed.size
        self._changed += int(np.count_nonzero(changed))
        with np.errstate(all="ignore"):  # what overflows is no number, and said to be none
            before = values_of(self._dtype, left).astype(np.float64)
            after = values_of(self._dtype, right).astype(np.float64)
            finite = np.isfinite(before) & np.isfinite(after)
            if not finite.all():
                before, after = before[finite], after[finite]
            apart = after - before
            self._product += float((before * after).sum())
            self._left += float(np.square(before).sum())
            self._right += float(np.square(after).sum())
            self._apart += float(np.square(apart).sum())
            self._largest = max(self._largest, float(np.abs(apart).max(initial=0.0)))

    def measures(self) -> Measures:
        norms = math.sqrt(self._left) * math.sqrt(self._right)
        cosine = _finite(self._product / norms) if norms else None
        return Measures(
            relative_l2=_finite(math.sqrt(self._apart) / math.sqrt(self._left)) if self._left else None,
            cosine_similarity=None if cosine is None else max(-1.0, min(1.0, cosine)),
            max_abs_change=_finite(self._largest),
            changed_share=self._changed / self._count if self._count else 0.0,
        )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
