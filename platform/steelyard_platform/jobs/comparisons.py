"""Comparing versions: what is known at once, and a job for what has to be measured."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.jobs import CompareSpec, JobState
from steelyard_contracts.refs import RepositoryKind, parse_ref
from steelyard_contracts.weights import CompareView, InspectionState, TextChange
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.jobs.inspections import ACTIVE, is_being_inspected
from steelyard_platform.jobs.models import Job
from steelyard_platform.jobs.services import request_own_job
from steelyard_platform.repos.differences import Texts, changed_files, changed_texts
from steelyard_platform.repos.models import Repository, Version
from steelyard_platform.repos.queries import find_existing_version
from steelyard_platform.weights.comparison import Comparison, compare

_WAITING_AT_MOST = 4
# Whoever asks again before this would only see the same fail again.
_PAUSE = timedelta(minutes=10)


def other_version(repository: Repository, text: str, actor: Actor) -> Version:
    """The right side of a comparison: a revision of the same repository, or `namespace/name@revision` of another.

    Raises: the errors of looking it up as `actor`; InvalidInputError for a dataset.
    """
    ref = parse_ref(text, kind=RepositoryKind(repository.kind)) if "@" in text else repository.ref.at(text)
    if ref.kind != repository.kind:
        raise InvalidInputError(f"{text!r} names a {ref.kind}; a {repository.kind} is needed here.")
    return find_existing_version(actor, ref)


def comparison(left: Version, right: Version) -> tuple[CompareView, list[Texts]]:
    """What differs, with the measures that are known; asks for a job when some are not, and nobody is at it.

    Both versions come with their repository, which the reader may read.
    """
    found = compare(left, right)
    view = found.view(_state(found))
    view.files = changed_files(left, right)
    texts = changed_texts(left, right, view.files)
    view.texts = [TextChange(path=one.path, diff=one.unified()) for one in texts]
    return view, texts


def _state(found: Comparison) -> InspectionState:
    if not found.is_inspected:
        at_it = is_being_inspected(found.left) or is_being_inspected(found.right)
        return InspectionState.PENDING if at_it else InspectionState.FAILED
    if not found.missing:
        return InspectionState.DONE
    spec = CompareSpec(left=_text(found.left), right=_text(found.right))
    jobs = Job.objects.filter(
        repository=found.left.repository_id, kind=spec.kind, spec__left=spec.left, spec__right=spec.right
    )
    newest = jobs.order_by("-created_at").first()
    if newest is not None and not JobState(newest.state).is_final:
        return InspectionState.PENDING
    if newest is not None and newest.finished_at is not None and timezone.now() - newest.finished_at < _PAUSE:
        return InspectionState.FAILED
    # Readers ask, also anonymous ones: their comparisons must not fill the queue.
    if Job.objects.filter(kind=spec.kind, state__in=ACTIVE).count() < _WAITING_AT_MOST:
        request_own_job(spec=spec)
    return InspectionState.PENDING


def _text(version: Version) -> str:
    return f"{version.repository.full_name}@{version.label}"
