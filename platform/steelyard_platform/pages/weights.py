"""What is inside a version's weights: on the version's page, as a tree of tensors, and beside another version's."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_POST

from steelyard_contracts.errors import NotFoundError
from steelyard_contracts.jobs import InspectSpec
from steelyard_contracts.refs import Ref, RepositoryKind
from steelyard_contracts.weights import InspectionView
from steelyard_platform.accounts.authentication import page_actor
from steelyard_platform.accounts.permissions import Action, Actor, may
from steelyard_platform.jobs.comparisons import comparison
from steelyard_platform.jobs.inspections import inspection
from steelyard_platform.jobs.services import request_job
from steelyard_platform.pages.rendering import page, signed_in
from steelyard_platform.repos.differences import side_by_side
from steelyard_platform.repos.models import Version
from steelyard_platform.repos.queries import find_existing_version, is_allowed
from steelyard_platform.weights.inspection import branch_of, tensors_of
from steelyard_platform.weights.modules import view_of

_PAGE = 100
_MODULES = 500


@page
def tensors(request: HttpRequest, kind: str, namespace: str, name: str, revision: str) -> HttpResponseBase:
    """A module's modules and tensors: `?module=encoder.layer`, `?model=` for another model than the main one."""
    if kind != RepositoryKind.MODEL:
        raise NotFoundError("A dataset has no tensors.")
    actor = page_actor(request)
    version = find_existing_version(actor, Ref(RepositoryKind.MODEL, namespace, name, revision))
    model, module, after = (request.GET.get(key, "") for key in ("model", "module", "after"))
    branch = branch_of(version, model=model, module=module)
    context = {
        "repository": version.repository,
        "base": version.repository.page,
        "tab": "versions",
        "version": version,
        "inspection": inspection(version, modules=False),
        "may_inspect": may(actor, Action.RUN_JOBS, version.repository.resource),
        "branch": branch,
        "model": model,
    }
    if branch is not None:
        rows, following = tensors_of(
            version, model=model, module=branch.module, directly=True, cursor=after or None, limit=_PAGE
        )
        modules = [view_of(name, inside) for name, inside in list(branch.level.modules.items())[:_MODULES]]
        context |= {
            "trail": _trail(branch.module),
            "modules": modules,
            "most": max((one.parameters for one in modules), default=1) or 1,
            "hidden": len(branch.level.modules) - len(modules),
            "tensors": rows,
            "following": following,
        }
    return render(request, "repository/tensors.html", context)


@page
@require_POST
def inspect(request: HttpRequest, kind: str, namespace: str, name: str, revision: str) -> HttpResponseBase:
    """Asks for an inspection of what nobody has read, or with `again` of everything; leads to its job."""
    signed_in(request)
    actor = page_actor(request)
    version = find_existing_version(actor, Ref(RepositoryKind(kind), namespace, name, revision))
    spec = InspectSpec(model=f"{version.repository.full_name}@{version.label}", again="again" in request.POST)
    job = request_job(spec=spec, actor=actor)
    return HttpResponseRedirect(f"/jobs/{job.pk}")


def inside_of(version: Version, actor: Actor) -> InspectionView | None:
    """For the version's own page; None where there is nothing to read, or somebody who may not."""
    if version.repository.kind != RepositoryKind.MODEL or not is_allowed(actor, Action.READ, version.repository):
        return None
    found = inspection(version, modules=False)
    return found if found.files else None


def compared_content(left: Version, right: Version, actor: Actor) -> dict[str, Any]:
    """For the page of two versions: their weights and their files, for those who may read them."""
    if not all(is_allowed(actor, Action.READ, one.repository) for one in (left, right)):
        return {}
    found, texts = comparison(left, right)
    furthest = sorted(found.changed, key=lambda one: -(one.relative_l2 or 0))
    return {
        "comparison": found if left.repository.kind == RepositoryKind.MODEL else None,
        "furthest": furthest[:_PAGE],
        "others": max(0, len(furthest) - _PAGE),
        "file_changes": found.files,
        "texts": [(one.path, side_by_side(one)) for one in texts],
    }


def _trail(module: str) -> list[tuple[str, str]]:
    """(what it is called, where it leads) of each module on the way."""
    found = []
    start = 0
    for place, letter in enumerate([*module, "."]):
        if letter in "./" and module:
            found.append((module[start:place], module[:place]))
            start = place + 1
    return found
