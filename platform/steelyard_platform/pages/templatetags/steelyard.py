"""Filters of the dashboard's templates."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import template
from django.utils import timezone
from django.utils.timesince import timesince

from steelyard_contracts.words import size_in_words

register = template.Library()
register.filter("size", size_in_words)

_FEW = 10


@register.filter
def measure(value: Any) -> str:
    """A metric: four digits after the point when it is small, whole when it is a count."""
    if not isinstance(value, int | float):
        return str(value)
    return f"{value:.4f}".rstrip("0").rstrip(".") if abs(value) < _FEW else f"{value:,.0f}"


@register.filter
def signed(value: float) -> str:
    """With its sign, for differences."""
    return f"{value:+.4f}" if abs(value) < _FEW else f"{value:+,.0f}"


@register.filter
def percent(share: float) -> str:
    return f"{share * 100:.0f}"


@register.filter
def subject(spec: dict[str, Any]) -> str:
    """What a job is about: the model it makes or measures."""
    return str(spec.get("output") or spec.get("model") or "")


@register.filter
def ago(moment: datetime) -> str:
    """How long since, for people."""
    if timezone.now() - moment < timedelta(minutes=1):
        return "just now"
    return f"{timesince(moment)} ago"


@register.filter
def short(text: str) -> str:
    """The first letters of a digest or id."""
    return str(text)[:8]


@register.filter
def words(text: str) -> str:
    """`rolled_back` as people say it."""
    return str(text).replace("_", " ")
