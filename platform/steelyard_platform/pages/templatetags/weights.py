"""Filters of the pages about what is inside weights: `{% load weights %}`."""

from __future__ import annotations

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from steelyard_contracts.weights import Histogram
from steelyard_contracts.words import number_in_words

register = template.Library()
register.filter("count", number_in_words)

_HEIGHT = 20


@register.filter
def value(number: float | None) -> str:
    """A number as it stands in weights, of any size."""
    return "-" if number is None else f"{number:.3g}"


@register.filter
def shape(lengths: list[int]) -> str:
    return " by ".join(map(str, lengths)) or "one number"


@register.filter
def share_of(part: float, whole: float) -> str:
    """Per cent, for the width of a bar."""
    return f"{100 * part / whole:.1f}" if whole else "0"


@register.filter
def bars(histogram: Histogram | None) -> SafeString | str:
    """A histogram as a small picture; heights by the square root, so that the tails show."""
    if histogram is None or not any(histogram.counts):
        return ""
    most = max(histogram.counts) ** 0.5
    heights = [_HEIGHT * one**0.5 / most for one in histogram.counts]
    path = "".join(f"M{place}.1 {_HEIGHT}v-{height:.1f}h.8v{height:.1f}z" for place, height in enumerate(heights))
    return format_html(
        '<svg class="bars-small" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<title>{}</title><path d="{}"/></svg>',
        len(heights),
        _HEIGHT,
        "histogram",
        f"from {histogram.low:.3g} to {histogram.high:.3g}",
        path,
    )
