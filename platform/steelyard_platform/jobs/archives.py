"""Archives on their way to a version: kept from the moment they arrived until a job has unpacked them, or given up.

archive = hold(repository, blob, "shapes.zip")
job = unpack(archive, actor)                          # its files become a version of main
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from steelyard_contracts.errors import InvalidInputError, NotFoundError
from steelyard_contracts.jobs import JobState, UnpackSpec
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.jobs.leases import held_job
from steelyard_platform.jobs.models import Archive, Job
from steelyard_platform.jobs.requests import request_unpacking
from steelyard_platform.repos.blobs import read_blob
from steelyard_platform.repos.models import Blob, Repository

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz")
# One that nobody had unpacked, or whose job failed and may be asked for again.
_KEPT = timedelta(days=7)


def check_name(name: str) -> None:
    """Raises: InvalidInputError for what no worker can unpack."""
    if not name.lower().endswith(ENDINGS):
        raise InvalidInputError(f"An archive ends in {', '.join(ENDINGS)}; {name[:100]!r} does not.", name=name[:255])


def hold(repository: Repository, blob: Blob, name: str) -> Archive:
    """Keeps an archive that has arrived. Raises: InvalidInputError."""
    check_name(name)
    return Archive.objects.create(repository=repository, blob=blob, name=name)


@transaction.atomic
def unpack(archive: Archive, actor: Actor, *, keep: bool = False) -> Job:
    """The job that does it; asked a second time, the first one's, unless that ended without success.

    Raises: the errors of `request_unpacking`.
    """
    locked = Archive.objects.select_for_update(of=("self",)).select_related("job", "repository__team", "blob")
    held = locked.get(pk=archive.pk)
    if held.job is not None and JobState(held.job.state) not in _UNSUCCESSFUL:
        return held.job
    spec = UnpackSpec(
        dataset=held.repository.full_name,
        archive=held.pk,
        name=held.name,
        size=held.blob.size,
        sha256=held.blob.sha256,
        keep=keep,
    )
    held.job = request_unpacking(spec=spec, actor=actor)
    held.save(update_fields=["job"])
    return held.job


_UNSUCCESSFUL = frozenset({JobState.FAILED, JobState.CANCELLED, JobState.LOST})


def newest_unpacking(repository: Repository) -> Job | None:
    return Job.objects.filter(repository=repository.pk, kind="unpack").order_by("-created_at").first()


def content_for_worker(job_id: UUID, actor: Actor) -> Iterator[bytes]:
    """For the holder of the job's token. Raises: LeaseLostError, NotFoundError."""
    job = held_job(job_id, actor)
    archive = Archive.objects.select_related("blob").filter(job=job).first()
    if archive is None:
        raise NotFoundError("The job has no archive, or it was given up.")
    return read_blob(archive.blob)


def forget_old() -> None:
    """Those that are a version now, and those that were given up: garbage collection frees what they kept."""
    old = Q(created_at__lt=timezone.now() - _KEPT) & (Q(job=None) | Q(job__state__in=_UNSUCCESSFUL))
    Archive.objects.filter(Q(job__state=JobState.SUCCEEDED) | old).delete()
