"""Where versions are deployed: read from what devices say they run, for a device is no version to draw an edge to.

deployments_of(version, actor)    "which devices run something that was trained on dataset v3?", in one query
running(versions, actor)          how many devices run each of these versions
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from sqlalchemy import Select, func, select

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.fleet import DeviceState
from steelyard_contracts.lineage import Deployment
from steelyard_platform.accounts.models import Team
from steelyard_platform.accounts.permissions import SCOPE_ALLOWS, Action, Actor, Scope
from steelyard_platform.fleet.models import Device, Release
from steelyard_platform.repos.models import Repository, Version
from steelyard_platform.storage.core_tables import database_id, fetch_all, keys_of, table_of
from steelyard_platform.weights.lineage import made_from, reference

_MAX_LIMIT = 500

_devices, _releases, _teams = table_of(Device), table_of(Release), table_of(Team)
_versions, _repositories = table_of(Version), table_of(Repository)
_owners = _teams.alias("owner")


@dataclass(frozen=True, slots=True)
class Running:
    """How many devices of a team run a version, and the name of one of them."""

    team: str
    count: int
    device: str


def deployments_of(
    version: Version, *, actor: Actor, cursor: str | None = None, limit: int = _MAX_LIMIT
) -> tuple[list[Deployment], str | None]:
    """The devices that say they run the version, or anything that was made from it or trained on it.

    Only those of teams that the actor may read, through versions that the actor may see; and the cursor to go on with.

    Raises: InvalidInputError for a cursor that is none.
    """
    limit = max(1, min(limit, _MAX_LIMIT))
    made = made_from(version, actor)
    release = [_repositories.c.kind, _owners.c.name, _repositories.c.name, _versions.c.number, _releases.c.digest]
    device = [_devices.c.id, _devices.c.name, _teams.c.name, _devices.c.state, _devices.c.last_seen_at]
    wanted = (
        _deployed([*device, *release])
        .join(_versions, _versions.c.id == _releases.c.version_id)
        .join(_repositories, _repositories.c.id == _versions.c.repository_id)
        .join(_owners, _owners.c.id == _repositories.c.team_id)
        .where(_releases.c.version_id.in_(select(made.c.id)), _teams.c.id.in_(keys_of(readable_teams(actor))))
        .order_by(_devices.c.id)
        .limit(limit + 1)
    )
    if cursor:
        wanted = wanted.where(_devices.c.id > database_id(_read(cursor)))
    rows = fetch_all(wanted)
    found = [_deployment(*row[1:]) for row in rows[:limit]]
    return found, UUID(str(rows[limit - 1][0])).hex if len(rows) > limit else None


def running(versions: Iterable[int], actor: Actor) -> dict[int, list[Running]]:
    """By version, one for each team that the actor may read. One query."""
    wanted = (
        _deployed([_releases.c.version_id, _teams.c.name, func.count(), func.min(_devices.c.name)])
        .where(_releases.c.version_id.in_(list(versions)), _teams.c.id.in_(keys_of(readable_teams(actor))))
        .group_by(_releases.c.version_id, _teams.c.name)
        .order_by(_releases.c.version_id, _teams.c.name)
    )
    found: dict[int, list[Running]] = {}
    for version, *what in fetch_all(wanted):
        found.setdefault(version, []).append(Running(*what))
    return found


def readable_teams(actor: Actor) -> QuerySet[Team]:
    """What `may(actor, READ, team)` allows, as a query."""
    if Action.READ not in SCOPE_ALLOWS[actor.scope]:
        return Team.objects.none()
    if actor.is_superuser and actor.scope in {Scope.ADMIN, Scope.SESSION}:
        return Team.objects.all()
    return Team.objects.filter(pk__in=list(actor.roles))


def _deployed(columns: list[Any]) -> Select[Any]:
    """Devices with the release that each says it runs."""
    is_run = (_releases.c.digest == _devices.c.running) & (_releases.c.team_id == _devices.c.team_id)
    return (
        select(*columns).select_from(_devices).join(_releases, is_run).join(_teams, _teams.c.id == _devices.c.team_id)
    )


def _deployment(
    device: str,
    team: str,
    state: str,
    seen: datetime | None,
    kind: str,
    owner: str,
    name: str,
    number: int,
    digest: str,
) -> Deployment:
    return Deployment(
        device=device,
        team=team,
        state=DeviceState(state),
        version=reference(kind, owner, name, number),
        release=digest,
        # SQLite keeps no zone: it is UTC.
        last_seen_at=seen.replace(tzinfo=UTC) if seen and seen.tzinfo is None else seen,
    )


def _read(cursor: str) -> UUID:
    try:
        return UUID(cursor)
    except ValueError as error:
        raise InvalidInputError(f"{cursor!r} is no cursor of this list; begin again without one.") from error
