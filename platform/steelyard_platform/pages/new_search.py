"""The form that asks for a search: what varies, how it goes on, and the training that its trials have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render

from steelyard_contracts.errors import SteelyardError
from steelyard_contracts.search_words import parse_space
from steelyard_contracts.searches import SearchSpec
from steelyard_platform.accounts.authentication import page_actor
from steelyard_platform.jobs.searches import request_search
from steelyard_platform.pages.rendering import page, signed_in
from steelyard_platform.pages.spec_form import Field, fields_of, spec_from, suggestions_for, validated

_MAIN = ("metric", "direction", "trials", "parallel", "sampler", "keep")
_PRUNERS = ("median", "halving", "none")
_PREFIX = "search-"


@page
def search(request: HttpRequest) -> HttpResponseBase:
    """GET: the form, filled in as the address says. POST: begin."""
    signed_in(request)
    actor = page_actor(request)
    given: Mapping[str, Any] = request.POST.dict() if request.method == "POST" else request.GET.dict()
    training, own = (
        fields_of(given, {}),
        fields_of(given, {}, SearchSpec, main=_MAIN, without={"pruner"}, prefix=_PREFIX),
    )
    context: dict[str, Any] = {
        "training_fields": training,
        "search_fields": own,
        "vary": given.get("vary", ""),
        "pruner": given.get("pruner", _PRUNERS[0]),
        "pruners": _PRUNERS,
        **suggestions_for(actor),
    }
    if request.method != "POST":
        return render(request, "searches/new.html", context)
    try:
        made = request_search(spec=_spec(training, own, given), actor=actor)
    except SteelyardError as error:
        return render(request, "searches/new.html", context | {"fault": str(error)}, status=error.status)
    return HttpResponseRedirect(f"/searches/{made.pk}")


def _spec(training: list[Field], own: list[Field], given: Mapping[str, Any]) -> SearchSpec:
    """Raises: InvalidInputError."""
    lines = [line.strip() for line in str(given.get("vary", "")).splitlines() if line.strip()]
    pruner = given.get("pruner", _PRUNERS[0])
    asked = {
        **spec_from(own, {}),
        "train": spec_from(training, {}),
        "space": parse_space(lines),
        "pruner": None if pruner == "none" else {"kind": pruner},
    }
    return validated(SearchSpec, asked, "This cannot be searched")
