"""`/api/v1`: devices, releases and rollouts, for the people who look after them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Router, Schema, Status

from steelyard_contracts.errors import InvalidInputError, RevisionNotFoundError
from steelyard_contracts.fleet import (
    DeviceView,
    ReleaseRequest,
    ReleaseView,
    RolloutRequest,
    RolloutState,
    RolloutView,
)
from steelyard_contracts.refs import parse_ref
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.accounts.permissions import Action, demand
from steelyard_platform.accounts.services import team_named
from steelyard_platform.api.paging import Page
from steelyard_platform.fleet import services
from steelyard_platform.fleet.models import Device, Release, Rollout
from steelyard_platform.repos.paging import DEFAULT_LIMIT, page_of
from steelyard_platform.repos.queries import find_version

router = Router(tags=["fleet"])


class EnrolmentToken(Schema):
    token: str


@router.post("/teams/{team}/enrolment-token", response={201: EnrolmentToken})
def add_enrolment_token(request: HttpRequest, team: str) -> Status[EnrolmentToken]:
    """A token that devices enrol with, and that opens nothing else."""
    secret = services.issue_enrolment_token(team=team_named(team), actor=api_actor(request))
    return Status(201, EnrolmentToken(token=secret))


@router.get("/teams/{team}/devices", response=Page[DeviceView])
def list_devices(
    request: HttpRequest, team: str, cursor: str | None = None, limit: int = DEFAULT_LIMIT
) -> dict[str, Any]:
    found = team_named(team)
    demand(api_actor(request), Action.READ, found.resource)
    rows = Device.objects.filter(team=found).select_related("team")
    items, following = page_of(rows, field="enrolled_at", cursor=cursor, limit=limit)
    return {"items": services.device_views(items), "next": following}


@router.get("/teams/{team}/devices/{device}", response=DeviceView)
def get_device(request: HttpRequest, team: str, device: str) -> DeviceView:
    return services.device_views([services.find_device(team_named(team), device, api_actor(request))])[0]


@router.post("/teams/{team}/devices/{device}/accept", response=DeviceView)
def accept_device(request: HttpRequest, team: str, device: str) -> DeviceView:
    actor = api_actor(request)
    found = services.find_device(team_named(team), device, actor)
    return services.device_views([services.accept_device(device=found, actor=actor)])[0]


@router.post("/teams/{team}/devices/{device}/revoke", response=DeviceView)
def revoke_device(request: HttpRequest, team: str, device: str) -> DeviceView:
    """Its key opens nothing from now on."""
    actor = api_actor(request)
    found = services.find_device(team_named(team), device, actor)
    return services.device_views([services.revoke_device(device=found, actor=actor)])[0]


@router.post("/releases", response={201: ReleaseView})
def add_release(request: HttpRequest, body: ReleaseRequest) -> Status[ReleaseView]:
    """Signs a version (or a variant of it) for devices, if the gates for `release` allow it."""
    actor = api_actor(request)
    snapshot = find_version(actor, parse_ref(body.model))
    if snapshot.version is None:
        raise RevisionNotFoundError(f"{body.model} is empty.", revision=body.model)
    snapshot.version.repository = snapshot.repository
    release = services.create_release(
        version=snapshot.version, variant=body.variant, reason=body.reason, override=body.override, actor=actor
    )
    return Status(201, services.release_view(release))


@router.get("/teams/{team}/releases", response=Page[ReleaseView])
def list_releases(
    request: HttpRequest, team: str, cursor: str | None = None, limit: int = DEFAULT_LIMIT
) -> dict[str, Any]:
    found = team_named(team)
    demand(api_actor(request), Action.READ, found.resource)
    rows = Release.objects.filter(team=found).select_related("version__repository__team")
    items, following = page_of(rows, field="created_at", cursor=cursor, limit=limit)
    return {"items": [services.release_view(item) for item in items], "next": following}


@router.post("/rollouts", response={201: RolloutView})
def add_rollout(request: HttpRequest, body: RolloutRequest) -> Status[RolloutView]:
    """Offers a release to the first devices, and to the others once those are healthy."""
    actor = api_actor(request)
    rollout = services.start_rollout(request=body, actor=actor)
    return Status(201, services.rollout_view(services.find_rollout(rollout.pk, actor)))


@router.get("/teams/{team}/rollouts", response=Page[RolloutView])
def list_rollouts(request: HttpRequest, team: str, cursor: str | None = None, limit: int = 20) -> dict[str, Any]:
    found = team_named(team)
    demand(api_actor(request), Action.READ, found.resource)
    rows = Rollout.objects.filter(team=found).select_related("release__version__repository__team")
    items, following = page_of(
        rows.prefetch_related("installs__device"), field="created_at", cursor=cursor, limit=limit
    )
    return {"items": [services.rollout_view(item) for item in items], "next": following}


@router.get("/rollouts/{uuid:rollout_id}", response=RolloutView)
def get_rollout(request: HttpRequest, rollout_id: UUID) -> RolloutView:
    return services.rollout_view(services.find_rollout(rollout_id, api_actor(request)))


@router.post("/rollouts/{uuid:rollout_id}/{verb}", response=RolloutView)
def change_rollout(request: HttpRequest, rollout_id: UUID, verb: str) -> RolloutView:
    """`pause`, `resume` or `cancel`."""
    states = {"pause": RolloutState.PAUSED, "resume": RolloutState.RUNNING, "cancel": RolloutState.CANCELLED}
    if verb not in states:
        raise InvalidInputError(f"A rollout can be paused, resumed or cancelled, not {verb!r}.")
    actor = api_actor(request)
    rollout = services.find_rollout(rollout_id, actor)
    return services.rollout_view(services.set_rollout_state(rollout=rollout, state=states[verb], actor=actor))
