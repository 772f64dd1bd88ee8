"""The form that asks for a training; also the one that asks for another like it, with changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render

from steelyard_contracts.errors import InvalidInputError, SteelyardError
from steelyard_contracts.training import TrainSpec
from steelyard_contracts.workers import Resources
from steelyard_platform.accounts.authentication import page_actor
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.jobs import services
from steelyard_platform.jobs.estimates import estimate_job
from steelyard_platform.jobs.models import Job
from steelyard_platform.pages.rendering import page, signed_in
from steelyard_platform.pages.spec_form import fields_of, spec_from, suggestions_for, validated

_MACHINE, _PREFIX = ("labels", "gpus", "hosts", "processes"), "machine-"


@page
def training(request: HttpRequest) -> HttpResponseBase:
    """GET: the form, filled in as the address says or as the job to clone was. POST: estimate, or ask for it."""
    signed_in(request)
    actor = page_actor(request)
    origin = _origin(request, actor)
    given: Mapping[str, Any] = request.POST.dict() if request.method == "POST" else request.GET.dict()
    before = origin.spec if origin else {}
    fields = fields_of(given, before)
    machine = fields_of(given, origin.resources if origin else {}, Resources, main=_MACHINE, prefix=_PREFIX)
    context: dict[str, Any] = {"origin": origin, "fields": fields, "machine": machine, **suggestions_for(actor)}
    if request.method != "POST":
        return render(request, "jobs/new.html", context)
    try:
        spec = validated(TrainSpec, spec_from(fields, before), "This cannot be trained")
        needs = validated(Resources, spec_from(machine, {}), "No machine is like this")
        if "estimate" in request.POST:
            expected = estimate_job(spec=spec, actor=actor, resources=needs)
            return render(request, "jobs/new.html", context | {"estimate": expected})
        job = _ask(spec, needs, origin, actor)
    except SteelyardError as error:
        return render(request, "jobs/new.html", context | {"fault": str(error)}, status=error.status)
    return HttpResponseRedirect(f"/jobs/{job.pk}")


def _origin(request: HttpRequest, actor: Actor) -> Job | None:
    """The job to clone, if one is named. Raises: InvalidInputError, NotFoundError."""
    text = request.POST.get("clone") or request.GET.get("clone")
    if not text:
        return None
    try:
        job = services.find_job(UUID(text), actor)
    except ValueError as error:
        raise InvalidInputError(f"{text!r} is no id of a job.") from error
    if job.kind != "train":
        raise InvalidInputError(f"This is the form of a training; that job is one to {job.kind}.")
    return job


def _ask(spec: TrainSpec, needs: Resources, origin: Job | None, actor: Actor) -> Job:
    if origin is None:
        return services.request_job(spec=spec, actor=actor, resources=needs)
    wanted = spec.model_dump(mode="json")
    changes = {key: value for key, value in wanted.items() if origin.spec.get(key) != value}
    return services.clone_job(job=origin, changes=changes, actor=actor, resources=needs)
