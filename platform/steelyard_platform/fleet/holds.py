"""Releases and devices: what was made ready for the field is kept, and so is what runs there."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Exists, OuterRef, Q, QuerySet

from steelyard_contracts.fleet import DeviceState
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.fleet.models import Device, Release
from steelyard_platform.repos.holds import ALWAYS, MOST_NAMED, Doomed, Found
from steelyard_platform.repos.models import Repository


class ReleaseHolder:
    kind = "release"
    told = stops = ALWAYS

    def held(self, repository: Repository) -> Q:  # noqa: ARG002 - the protocol's
        return Q(Exists(Release.objects.filter(version=OuterRef("pk"))))

    def find(self, doomed: Doomed, actor: Actor) -> Iterator[Found]:  # noqa: ARG002 - the protocol's
        rows = Release.objects.filter(version__in=doomed.versions.values("pk")).select_related("version")
        for row in rows.order_by("-created_at")[: MOST_NAMED + 1]:
            label = row.version.label
            yield Found(row.digest[:12], label, f"{label} was released to devices; what they run is kept")


class DeviceHolder:
    """A device that runs a release of a version; a release alone keeps it, but whoever deletes wants to know."""

    kind = "device"
    told = stops = ALWAYS

    def held(self, repository: Repository) -> Q:  # noqa: ARG002 - the protocol's
        running = _devices().filter(team=OuterRef("team"), running=OuterRef("digest"))
        return Q(Exists(Release.objects.filter(Exists(running), version=OuterRef("pk"))))

    def find(self, doomed: Doomed, actor: Actor) -> Iterator[Found]:  # noqa: ARG002 - the protocol's
        released = Release.objects.filter(version__in=doomed.versions.values("pk"), team=doomed.repository.team_id)
        labels = dict(released.values_list("digest", "version__number"))
        rows = _devices().filter(team=doomed.repository.team_id, running__in=released.values("digest"))
        for row in rows.order_by("name")[: MOST_NAMED + 1]:
            label = f"v{labels[row.running]}"
            yield Found(row.name, label, f"the device {row.name} runs {label}")


def _devices() -> QuerySet[Device]:
    return Device.objects.exclude(running="").exclude(state=DeviceState.REVOKED)
