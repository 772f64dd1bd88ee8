"""Devices and rollouts."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_POST

from steelyard_contracts.errors import NotFoundError
from steelyard_platform.accounts.authentication import page_actor
from steelyard_platform.accounts.models import Team
from steelyard_platform.accounts.permissions import Action, may
from steelyard_platform.accounts.services import team_named
from steelyard_platform.fleet import services
from steelyard_platform.fleet.models import Device, Rollout
from steelyard_platform.pages.rendering import live_partial, page, signed_in

_DEVICES, _ROLLOUTS = 200, 20


@page
def teams(request: HttpRequest) -> HttpResponseBase:
    """`/fleet`: the reader's teams; straight to the only one that has devices."""
    signed_in(request)
    mine = (
        Team.objects.filter(pk__in=list(page_actor(request).roles), devices__isnull=False).distinct().order_by("name")
    )
    if mine.count() == 1:
        return HttpResponseRedirect(f"/fleet/{mine[0].name}")
    return render(request, "fleet/teams.html", {"teams": mine})


@page
def devices(request: HttpRequest, team: str) -> HttpResponseBase:
    return render(request, "fleet/devices.html", _devices(request, team))


@page
def devices_live(request: HttpRequest, team: str) -> HttpResponseBase:
    return render(request, "fleet/device_table.html", _devices(request, team))


def _devices(request: HttpRequest, name: str) -> dict[str, object]:
    team, actor = _team(request, name), page_actor(request)
    found = list(Device.objects.filter(team=team).select_related("team").order_by("name")[:_DEVICES])
    rollouts = Rollout.objects.filter(team=team).select_related("release__version__repository__team")
    return {
        "team": team,
        "devices": services.device_views(found),
        "rollouts": rollouts.order_by("-created_at")[:_ROLLOUTS],
        "may_operate": may(actor, Action.OPERATE_FLEET, team.resource),
    }


def _team(request: HttpRequest, name: str) -> Team:
    """Raises: NotFoundError also for a team that the reader does not belong to."""
    actor = page_actor(request)
    signed_in(request)
    team = team_named(name)
    if not may(actor, Action.READ, team.resource):
        raise NotFoundError(f"There is no team {name}.")
    return team


@page
@require_POST
def change_device(request: HttpRequest, team: str, device: str, verb: str) -> HttpResponseBase:
    """`accept` or `revoke`."""
    actor = page_actor(request)
    found = services.find_device(team_named(team), device, actor)
    change = {"accept": services.accept_device, "revoke": services.revoke_device}.get(verb)
    if change is None:
        raise NotFoundError("There is no such page.")
    change(device=found, actor=actor)
    return HttpResponseRedirect(f"/fleet/{team}")


@page
def rollout(request: HttpRequest, rollout_id: UUID) -> HttpResponseBase:
    return render(request, "fleet/rollout.html", _rollout(request, rollout_id))


@page
def rollout_live(request: HttpRequest, rollout_id: UUID) -> HttpResponseBase:
    context = _rollout(request, rollout_id)
    return live_partial(request, "fleet/rollout_table.html", context, is_final=context["rollout"].state.is_final)


def _rollout(request: HttpRequest, rollout_id: UUID) -> dict[str, Any]:
    found = services.find_rollout(rollout_id, page_actor(request))
    return {"rollout": services.rollout_view(found), "team": found.team}
