"""Filters of the dashboard's templates."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from uuid import UUID

from django import template
from django.utils import timezone
from django.utils.timesince import timesince

from steelyard_contracts.estimates import duration
from steelyard_contracts.words import size_in_words
from steelyard_platform.jobs.models import Job
from steelyard_platform.jobs.run_facts import is_run, silent_since

register = template.Library()
register.filter("size", size_in_words)
register.filter("duration", duration)

_DIGITS = 4
_PARENT = "mlflow.parentRunId"  # the tag by which MLflow's clients say what a run is part of
_TINY, _HUGE = 1e-4, 1e15  # beyond which a power of ten says more


@register.filter
def measure(value: Any) -> str:
    """A metric in four digits, without zeros that say nothing; large ones whole. `charts.js` writes them alike."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if not math.isfinite(value):
        return "not finite"
    if value == 0 or isinstance(value, int):
        return f"{int(value):,}"
    if not _TINY <= abs(value) < _HUGE:
        mantissa, exponent = f"{value:.{_DIGITS - 1}e}".split("e")
        return f"{_trimmed(mantissa)}e{int(exponent)}"
    places = max(_DIGITS - 1 - math.floor(math.log10(abs(value))), 0)
    # Halves go up, as in browsers.
    return _trimmed(f"{Decimal(value).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP):,f}")


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


@register.filter
def parameter(value: Any) -> str:
    """What a training was given: three digits of a number, whatever its size; words as they are; lists as JSON."""
    if isinstance(value, float):
        return f"{value:.3g}"
    return value if isinstance(value, str) else json.dumps(value)


@register.filter
def signed(value: float) -> str:
    """With its sign, for differences."""
    return f"+{measure(value)}" if value > 0 else measure(value)


@register.filter
def percent(share: float) -> str:
    return f"{share * 100:.0f}"


@register.filter
def is_silent(job: Job) -> bool:
    """Whether it is a run that should be heard of, and is not."""
    return silent_since(job) is not None


@register.filter
def subject(job: Job) -> str:
    """What a job is about: the model it makes or measures; of a run, its project and its name."""
    if is_run(job):
        return f"{job.run.project} · {job.run.name}" if job.run.project else str(job.run.name)
    return str(job.spec.get("output") or job.spec.get("model") or job.spec.get("dataset") or "")


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


@register.filter
def spoken(value: Any) -> str:
    """A value of a spec as people write it."""
    if isinstance(value, list):
        return ", ".join(map(spoken, value))
    if isinstance(value, dict):
        return ", ".join(f"{words(key)} {spoken(part)}" for key, part in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


@register.filter
def after_at(ref: str) -> str:
    """The revision of a reference: `v3` of `team/name@v3`."""
    return str(ref).rpartition("@")[2]


@register.filter
def parent_page(value: str, key: str) -> str:
    """The page of the run that the tag `key` names as what a run is part of; empty for any other tag."""
    if key != _PARENT:
        return ""
    try:
        return f"/jobs/{UUID(str(value))}"
    except ValueError:
        return ""


@register.filter
def version_page(ref: str) -> str:
    """The page of a model's version that is written `team/name@v3`."""
    repository, _, revision = str(ref).partition("@")
    return f"/{repository}/versions/{revision}" if revision else f"/{repository}"
