"""Filters of the pages about evaluations: `{% load evaluations %}`. Charts are pictures of few points, drawn here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from steelyard_contracts.evaluation import CalibrationBin, CurveRow

register = template.Library()

_SIDE = 200
_COLOURS = 8


@register.filter
def interval(intervals: dict[str, Any], metric: str) -> str:
    """`0.958 to 0.983`, or nothing."""
    found = intervals.get(metric)
    if found is None:
        return ""
    low, high = (found["low"], found["high"]) if isinstance(found, dict) else (found.low, found.high)
    return f"{low:.4g} to {high:.4g}"


@register.filter
def heat(count: int, row: Sequence[int]) -> str:
    """The share of its row, per cent, for the colour of a cell of a confusion matrix."""
    total = sum(row)
    return f"{100 * count / total:.0f}" if total else "0"


@register.filter
def line_of(place: int) -> str:
    """The look of a line among others: the palette's colours, then the same ones dashed."""
    return f"series-{place % _COLOURS + 1}" + (" dashed" if place // _COLOURS % 2 else "")


@register.filter
def curves(rows: Sequence[CurveRow]) -> SafeString:
    """All of one kind in a square from (0, 0) to (1, 1); the name and area of each as its tip."""
    lines = [
        (
            " ".join(f"{x * _SIDE:.1f},{(1 - y) * _SIDE:.1f}" for x, y in zip(row.x, row.y, strict=True)),
            line_of(place),
            f"{row.label}: {row.area:.4f}",
        )
        for place, row in enumerate(rows)
    ]
    drawn = format_html_join("", '<polyline points="{}" class="{}"><title>{}</title></polyline>', lines)
    return _square(drawn)


@register.filter
def reliability(bins: Sequence[CalibrationBin]) -> SafeString:
    """Confidence to the share that was right: bars, beside the line where both are the same."""
    width = _SIDE / max(len(bins), 1)
    bars = [
        (
            f"{place * width + 1:.1f}",
            f"{(1 - one.accuracy) * _SIDE:.1f}",
            f"{width - 2:.1f}",
            f"{one.accuracy * _SIDE:.1f}",
            f"{one.count} answers, {one.confidence:.2f} sure on average, {one.accuracy:.2f} of them right",
        )
        for place, one in enumerate(bins)
        if one.count
    ]
    drawn = format_html_join(
        "", '<rect x="{}" y="{}" width="{}" height="{}" class="bar"><title>{}</title></rect>', bars
    )
    return _square(format_html('{}<path d="M0 {}L{} 0" class="even"/>', drawn, _SIDE, _SIDE))


def _square(drawn: SafeString) -> SafeString:
    return format_html(
        '<svg class="curve" viewBox="-1 -1 {} {}" role="img" aria-label="chart from 0 to 1">'
        '<path d="M0 0V{}H{}" class="frame"/>{}</svg>',
        _SIDE + 2,
        _SIDE + 2,
        _SIDE,
        _SIDE,
        drawn,
    )
