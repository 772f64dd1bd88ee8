"""Asking for inspections: every version is examined once, and a job reads those of its files that nobody has read.

A few such jobs wait at a time, so that a training does not stand behind a thousand of them; the newest versions go
first.
"""

from __future__ import annotations

from django.db import transaction

from steelyard_contracts.jobs import InspectSpec, JobState
from steelyard_contracts.refs import RepositoryKind
from steelyard_contracts.weights import InspectionState, InspectionView
from steelyard_platform.jobs.models import Job
from steelyard_platform.jobs.services import request_own_job
from steelyard_platform.repos.models import Version
from steelyard_platform.weights.inspection import files_to_inspect, inspection_of

_WAITING_AT_MOST = 4
_EXAMINED_AT_ONCE = 100
ACTIVE = tuple(state for state in JobState if not state.is_final)


def request_inspections() -> int:
    """Examines new versions, as long as there is room for another job. Returns how many jobs were requested."""
    unexamined = Version.objects.filter(is_examined=False, repository__is_trashed=False)
    datasets = unexamined.filter(repository__kind=RepositoryKind.DATASET).values_list("pk", flat=True)
    Version.objects.filter(pk__in=list(datasets[:1000])).update(is_examined=True)
    room = _WAITING_AT_MOST - Job.objects.filter(kind="inspect", state__in=ACTIVE).count()
    requested = 0
    for version in unexamined.select_related("repository__team", "branch").order_by("-pk")[:_EXAMINED_AT_ONCE]:
        if requested >= room:
            break
        requested += _examine(version)
    return requested


@transaction.atomic
def _examine(version: Version) -> bool:
    """Whether a job was requested. Two processes at once request one."""
    if not Version.objects.filter(pk=version.pk, is_examined=False).update(is_examined=True):
        return False
    if version.repository.kind != RepositoryKind.MODEL or not files_to_inspect(version):
        return False
    request_own_job(spec=InspectSpec(model=f"{version.repository.full_name}@{version.label}"))
    return True


def inspection(version: Version, *, modules: bool = True) -> InspectionView:
    """What is known of the version's weights, and whether more is to come."""
    view = inspection_of(version, modules=modules)
    if view.state is InspectionState.PENDING and not is_being_inspected(version):
        view.state = InspectionState.FAILED  # somebody has to ask again
    return view


def is_being_inspected(version: Version) -> bool:
    """Whether a job is at the version's files, or at another's of the repository that may be the same, or will be."""
    jobs = Job.objects.filter(repository=version.repository_id, kind="inspect", state__in=ACTIVE)
    return not version.is_examined or jobs.exists()
