"""`…/versions/{v}/lineage`: what a version was made from, what was made from it, and which devices run that."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router

from steelyard_contracts.lineage import Deployment, Direction, LineageEdge
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.api.lookups import Kind, version_at
from steelyard_platform.api.paging import Page
from steelyard_platform.fleet.lineage import deployments_of
from steelyard_platform.repos.paging import DEFAULT_LIMIT
from steelyard_platform.weights.lineage import edges_around

router = Router(tags=["lineage"])
_VERSION = "/{kind}/{namespace}/{name}/versions/{segment:revision}"


@router.get(f"{_VERSION}/lineage", response=Page[LineageEdge])
def list_lineage(
    request: HttpRequest,
    kind: Kind,
    namespace: str,
    name: str,
    revision: str,
    direction: Direction = Direction.ANCESTORS,
    depth: int | None = None,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> dict[str, Any]:
    """The edges of the graph around a version: all of them, or those within `depth` steps.

    Versions that the caller may not see are left out, and so is what can be reached only through them.
    """
    version = version_at(request, kind, namespace, name, revision)
    page = edges_around(version, direction=direction, actor=api_actor(request), depth=depth, cursor=cursor, limit=limit)
    return {"items": page.edges, "next": page.following}


@router.get(f"{_VERSION}/lineage/devices", response=Page[Deployment])
def list_deployments(
    request: HttpRequest,
    kind: Kind,
    namespace: str,
    name: str,
    revision: str,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> dict[str, Any]:
    """The devices that run the version, or anything that was made from it; of a dataset, what was trained on it."""
    version = version_at(request, kind, namespace, name, revision)
    items, following = deployments_of(version, actor=api_actor(request), cursor=cursor, limit=limit)
    return {"items": items, "next": following}
