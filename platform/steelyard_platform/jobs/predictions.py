"""Predictions: pictures that a worker looks at while somebody waits. Jobs of a few seconds that leave no trace.

The pictures lie in the object store until the job has ended; the job itself, with its answer, for some minutes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from uuid import UUID, uuid4

from django.utils import timezone

from steelyard_contracts.errors import (
    AuthenticationError,
    InvalidInputError,
    NotFoundError,
    TooLargeError,
    TooManyRequestsError,
)
from steelyard_contracts.jobs import JobState, PredictSpec
from steelyard_contracts.prediction import (
    LARGEST_PICTURE,
    LARGEST_REQUEST,
    MOST_PICTURES,
    PredictionAnswer,
    PredictionState,
    PredictionView,
)
from steelyard_platform.accounts.permissions import NOBODY, Actor
from steelyard_platform.jobs.leases import held_job
from steelyard_platform.jobs.models import Job
from steelyard_platform.jobs.requests import request_prediction
from steelyard_platform.repos.models import Version
from steelyard_platform.storage.objects import ObjectMissingError
from steelyard_platform.storage.services import object_store

KIND = "predict"
_A_MINUTE, _AT_ONCE = 30, 4  # predictions of one person
_UNHEARD_AFTER = timedelta(minutes=2)
_KEPT = timedelta(minutes=10)
_SHORTEST_LOOK, _LONGEST_LOOK = 0.05, 0.4
# What files of the kinds that can be read here begin with: PNG, JPEG, BMP, and RIFF for WebP.
_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"RIFF")


def ask(*, version: Version, pictures: Sequence[bytes], top: int, threshold: float, actor: Actor) -> Job:
    """Raises: InvalidInputError, TooLargeError, TooManyRequestsError, QuarantinedError, AuthenticationError."""
    _check_limit(actor)
    _check_pictures(pictures)
    spec = PredictSpec(
        model=f"{version.repository.full_name}@{version.label}",
        upload=uuid4(),
        pictures=len(pictures),
        top=top,
        threshold=threshold,
    )
    store = object_store()
    for number, picture in enumerate(pictures):
        store.put(_key(spec, number), [picture])
    try:
        return request_prediction(spec=spec, actor=actor)
    except Exception:
        _drop_pictures(spec)
        raise


def wait(job: UUID, seconds: float) -> PredictionView:
    """Until it has ended, or for as long as that."""
    deadline, pause = time.monotonic() + seconds, _SHORTEST_LOOK
    while True:
        found = Job.objects.get(pk=job)
        if JobState(found.state).is_final or time.monotonic() + pause > deadline:
            return _view(found)
        time.sleep(pause)
        pause = min(pause * 1.3, _LONGEST_LOOK)


def find(job_id: UUID, actor: Actor) -> PredictionView:
    """For whoever asked. Raises: NotFoundError."""
    job = Job.objects.filter(pk=job_id, kind=KIND, created_by_id=actor.user_id).first()
    if job is None or actor.user_id == NOBODY:
        raise NotFoundError(f"There is no prediction {job_id}, or it is forgotten by now.", prediction=str(job_id))
    return _view(job)


def picture_for_worker(job_id: UUID, number: int, actor: Actor) -> Iterator[bytes]:
    """The bytes that were sent, for the holder of the job's token. Raises: LeaseLostError, NotFoundError."""
    spec = _spec_of(held_job(job_id, actor))
    if spec is None or number >= spec.pictures:
        raise NotFoundError("The job has no such picture.")
    return object_store().read(_key(spec, number))


def forget_old() -> int:
    """Pictures of those that ended, those that nobody took, and answers that are old. Returns how many answers."""
    now = timezone.now()
    unheard = Job.objects.filter(kind=KIND, state=JobState.QUEUED, created_at__lt=now - _UNHEARD_AFTER)
    error = "No worker took it. Is one running that takes small jobs? See the workers' page."
    unheard.update(state=JobState.FAILED, error=error, finished_at=now, message="")
    final = [state for state in JobState if state.is_final]
    for job in Job.objects.filter(kind=KIND, state__in=final)[:200]:
        if (spec := _spec_of(job)) is not None:
            _drop_pictures(spec)
    old = Job.objects.filter(kind=KIND, state__in=final, created_at__lt=now - _KEPT)
    count, _ = old.delete()
    return count


def _check_limit(actor: Actor) -> None:
    if actor.user_id == NOBODY:
        raise AuthenticationError("Sign in or send a token of yours: predictions are counted by person.")
    since = timezone.now() - timedelta(minutes=1)
    recent = Job.objects.filter(kind=KIND, created_by_id=actor.user_id, created_at__gt=since)
    waiting = [state for state in recent.values_list("state", flat=True) if not JobState(state).is_final]
    if recent.count() >= _A_MINUTE or len(waiting) >= _AT_ONCE:
        raise TooManyRequestsError(
            f"At most {_A_MINUTE} predictions a minute, {_AT_ONCE} of them at once; try again in a minute, "
            f"or send up to {MOST_PICTURES} pictures together."
        )


def _check_pictures(pictures: Sequence[bytes]) -> None:
    if not 1 <= len(pictures) <= MOST_PICTURES:
        raise InvalidInputError(f"Send 1 to {MOST_PICTURES} pictures; {len(pictures)} came.")
    for number, picture in enumerate(pictures, start=1):
        if len(picture) > LARGEST_PICTURE:
            raise TooLargeError(f"Picture {number} has {len(picture)} bytes; at most {LARGEST_PICTURE} are taken.")
        if not picture.startswith(_MAGIC):
            raise InvalidInputError(f"Picture {number} is no PNG, JPEG, WebP or BMP.")
    if sum(map(len, pictures)) > LARGEST_REQUEST:
        raise TooLargeError(f"The pictures have more than {LARGEST_REQUEST} bytes together; send fewer at once.")


def _view(job: Job) -> PredictionView:
    state = JobState(job.state)
    if state is JobState.SUCCEEDED:
        answer = PredictionAnswer.model_validate(job.result)
        return PredictionView(id=job.pk, state=PredictionState.DONE, answer=answer)
    if state.is_final:
        return PredictionView(id=job.pk, state=PredictionState.FAILED, error=job.error or f"It was {state}.")
    return PredictionView(id=job.pk, state=PredictionState.WAITING)


def _spec_of(job: Job) -> PredictSpec | None:
    return PredictSpec.model_validate(job.spec) if job.kind == KIND else None


def _key(spec: PredictSpec, number: int) -> str:
    return f"predictions/{spec.upload.hex}/{number}"


def _drop_pictures(spec: PredictSpec) -> None:
    for number in range(spec.pictures):
        try:
            object_store().delete(_key(spec, number))
        except ObjectMissingError:
            continue
