"""What a job will probably take: worked out before it starts from jobs like it, and from its own pace while it runs.

    estimate(Wanted(images=60_000, price=2.5), [Paced(images=6_000, seconds=60.0), ...])

A median over earlier runs, so that one that stood beside three others does not spoil it; the range is that of its
middle half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from pydantic import BaseModel, Field

_FEW = 4
_SPREAD = 1.5  # with few runs to go by, the range is this factor to either side
# Beyond so many times the longest run there was, the range reaches further down.
_MUCH_MORE, _SPREAD_FAR = 10, 4


class JobEstimate(BaseModel):
    """`seconds` is None where nothing like it has run yet, and `cost` where no price is known."""

    images: int | None = Field(None, description="Pictures that the training will look at, over all epochs.")
    seconds: float | None = None
    low: float | None = Field(None, description="Seconds; a quarter of the runs like it were faster.")
    high: float | None = Field(None, description="Seconds; a quarter of the runs like it were slower.")
    runs: int = Field(0, description="Earlier runs that it is worked out from.")
    price_per_hour: float | None = None
    cost: float | None = None
    currency: str = ""
    words: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    images: int | None
    price_per_hour: float | None = None
    currency: str = ""


@dataclass(frozen=True, slots=True)
class Paced:
    """An earlier run like it: seconds for so many pictures, and those that any number of pictures costs."""

    images: float
    seconds: float
    around: float = 0.0


def estimate(wanted: Wanted, earlier: Sequence[Paced]) -> JobEstimate:
    found = JobEstimate(images=wanted.images, price_per_hour=wanted.price_per_hour, currency=wanted.currency)
    paces = [run.seconds / run.images for run in earlier if run.images > 0 and run.seconds > 0]
    if wanted.images is None or not paces:
        found.words = "Nothing like it has run here yet, so nobody knows how long it takes."
        return found
    middle = median(paces)
    low, _, high = quantiles(paces, n=4) if len(paces) >= _FEW else (middle / _SPREAD, middle, middle * _SPREAD)
    around = median(run.around for run in earlier)
    if wanted.images > _MUCH_MORE * max(run.images for run in earlier):
        low /= _SPREAD_FAR  # a short run is slow for its size: caches are cold, and there is little to share them
    found.runs = len(paces)
    found.seconds, found.low, found.high = (round(around + pace * wanted.images, 1) for pace in (middle, low, high))
    if wanted.price_per_hour is not None:
        found.cost = round(found.seconds / 3600 * wanted.price_per_hour, 4)
    found.words = _in_words(found)
    return found


def _in_words(found: JobEstimate) -> str:
    assert found.seconds is not None  # noqa: S101 - the caller has just set them
    assert found.low is not None  # noqa: S101 - as above
    assert found.high is not None  # noqa: S101 - as above
    runs = f"{found.runs} run" + ("" if found.runs == 1 else "s")
    text = f"about {duration(found.seconds)} ({duration(found.low)} to {duration(found.high)}), from {runs} like it"
    return f"{text}; {found.cost:.2f} {found.currency}".rstrip() if found.cost is not None else text


def duration(seconds: float) -> str:
    """As people say it: "40 s", "12 min", "3 h 20 min", "2 d 4 h"."""
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 90:  # noqa: PLR2004 - a minute and a half
        return f"{seconds:.0f} s"
    if minutes < 60:  # noqa: PLR2004 - minutes in an hour
        return f"{minutes} min"
    if hours < 48:  # noqa: PLR2004 - two days
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"
