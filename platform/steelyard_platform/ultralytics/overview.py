"""The pages that the client names to its user, and whatever it asks for that is not here."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect

from steelyard_contracts.errors import NotFoundError
from steelyard_platform.accounts.authentication import page_actor
from steelyard_platform.accounts.permissions import Action, may
from steelyard_platform.jobs.models import Job
from steelyard_platform.ultralytics.http import facade_view


def page_of_model(request: HttpRequest, namespace: str, project: str, model: str) -> HttpResponseBase:
    """Leads to the run's page; whoever may not see it, and a name that no run has, are led to the project's."""
    runs = Job.objects.filter(run__project__team__name__iexact=namespace, run__project__name__iexact=project)
    run = runs.filter(run__name=model, run__project__is_trashed=False).select_related("team").first()
    if run is not None and not may(page_actor(request), Action.READ, run.team.resource):
        run = None
    return HttpResponseRedirect(f"/jobs/{run.pk}" if run is not None else f"/{namespace}/{project}")


def page_of_project(request: HttpRequest, namespace: str, project: str) -> HttpResponseBase:  # noqa: ARG001 - Django's signature
    return HttpResponseRedirect(f"/{namespace}/{project}")


def _unknown(request: HttpRequest) -> HttpResponseBase:
    raise NotFoundError(f"Steelyard does not answer {request.method} {request.path}; see docs/ultralytics.md.")


unknown = facade_view(**dict.fromkeys(("get", "head", "post", "put", "patch", "delete"), _unknown))
