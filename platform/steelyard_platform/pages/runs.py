"""Runs side by side: curves over each other, what differs of their parameters, and how each ended."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.runs import RunComparison
from steelyard_platform.accounts.authentication import page_actor
from steelyard_platform.jobs.runs import compare_runs
from steelyard_platform.pages.rendering import page, signed_in


@page
def compare(request: HttpRequest) -> HttpResponseBase:
    signed_in(request)
    try:
        jobs = [UUID(text) for text in request.GET.getlist("job")]
    except ValueError as error:
        raise InvalidInputError("An address of a comparison names jobs by their ids, as in ?job=…&job=….") from error
    found = compare_runs(jobs, page_actor(request))
    context = {
        "found": found,
        "differing": [row for row in found.parameters if row.differs],
        "same": [row for row in found.parameters if not row.differs],
        "metrics": [(row, _cells(row.values, row.best)) for row in found.metrics],
        "data": _data(found),
    }
    return render(request, "jobs/compare.html", context)


def _cells(values: list[float | None], best: list[int]) -> list[tuple[float | None, bool]]:
    return [(value, place in best) for place, value in enumerate(values)]


def _data(found: RunComparison) -> dict[str, object]:
    """For the charts, and for the lines from parameters to measures."""
    numbers = [row for row in found.parameters if row.differs and _is_drawable(row.values)]
    axes = [{"name": row.name, "values": row.values} for row in numbers]
    axes += [{"name": row.name, "values": row.values} for row in found.metrics if len(set(row.values)) > 1][:6]
    return {
        "jobs": [str(run.id) for run in found.runs],
        "titles": [run.title for run in found.runs],
        "axes": axes,
    }


def _is_drawable(values: list[object]) -> bool:
    return all(value is None or isinstance(value, int | float | str) for value in values)
