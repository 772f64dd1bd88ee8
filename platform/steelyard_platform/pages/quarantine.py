"""Lifting a version's quarantine from its page, and putting it back; asking for a conversion to safetensors."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.views.decorators.http import require_POST

from steelyard_contracts.jobs import ConvertSpec
from steelyard_contracts.refs import Ref, RepositoryKind
from steelyard_contracts.weights import InspectionView, QuarantineState, Severity
from steelyard_platform.accounts.authentication import page_actor
from steelyard_platform.accounts.permissions import Action, Actor, may
from steelyard_platform.jobs.services import request_job
from steelyard_platform.pages.rendering import page, signed_in
from steelyard_platform.repos.models import Version
from steelyard_platform.repos.queries import find_existing_version
from steelyard_platform.weights import quarantine

_LIFTS = 20


@page
@require_POST
def lift(request: HttpRequest, kind: str, namespace: str, name: str, revision: str) -> HttpResponseBase:
    version = _find(request, kind, namespace, name, revision)
    quarantine.lift(version=version, reason=request.POST.get("reason", ""), actor=page_actor(request))
    return HttpResponseRedirect(f"{version.repository.page}/versions/{version.label}")


@page
@require_POST
def put_back(request: HttpRequest, kind: str, namespace: str, name: str, revision: str) -> HttpResponseBase:
    version = _find(request, kind, namespace, name, revision)
    quarantine.put_back(version=version, reason=request.POST.get("reason", ""), actor=page_actor(request))
    return HttpResponseRedirect(f"{version.repository.page}/versions/{version.label}")


@page
@require_POST
def convert(request: HttpRequest, kind: str, namespace: str, name: str, revision: str) -> HttpResponseBase:
    version = _find(request, kind, namespace, name, revision)
    spec = ConvertSpec(model=f"{version.repository.full_name}@{version.label}")
    job = request_job(spec=spec, actor=page_actor(request))
    return HttpResponseRedirect(f"/jobs/{job.pk}")


def safety_context(version: Version, inside: InspectionView | None, actor: Actor) -> dict[str, Any]:
    """For a version's page: what is inside, whether it is kept back, and whether it can be written as safetensors."""
    held = quarantine.quarantine_of(version)
    is_pickled = inside is not None and any(model.format == "torch" for model in inside.models)
    is_told = held.state is not QuarantineState.NONE  # of the dangers, where the quarantine is
    findings = inside.findings if inside else []
    may_run = may(actor, Action.RUN_JOBS, version.repository.resource)
    return {
        "inspection": inside,
        "findings": [one for one in findings if not is_told or one.severity is not Severity.DANGER],
        "quarantine": held,
        "lifts": quarantine.history_of(version)[:_LIFTS] if held.dangers else [],
        "may_inspect": may_run,
        "may_convert": is_pickled and may_run and held.state is not QuarantineState.QUARANTINED,
    }


def _find(request: HttpRequest, kind: str, namespace: str, name: str, revision: str) -> Version:
    signed_in(request)
    return find_existing_version(page_actor(request), Ref(RepositoryKind(kind), namespace, name, revision), Action.SEE)
