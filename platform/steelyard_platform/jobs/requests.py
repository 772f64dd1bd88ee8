"""Asking for jobs: checked and pinned now, queued whole or not at all."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from pydantic import TypeAdapter, ValidationError

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.jobs import JobSpec, JoinSpec, PredictSpec, UnpackSpec
from steelyard_contracts.run_specs import RunSpec
from steelyard_contracts.training import TrainSpec
from steelyard_contracts.wire import faults_in_words
from steelyard_contracts.workers import Resources, queue_of
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.permissions import PLATFORM, Action, Actor, demand
from steelyard_platform.jobs import doorbell, placement
from steelyard_platform.jobs.estimates import estimate_job
from steelyard_platform.jobs.models import Job
from steelyard_platform.jobs.specs import Pinned, pin, reader_for

_SPEC: TypeAdapter[JobSpec] = TypeAdapter(JobSpec)


def request_job(
    *, spec: JobSpec, actor: Actor, resources: Resources | None = None, cloned_from: Job | None = None
) -> Job:
    """Checks everything that can be known now, pins the references and queues the job.

    Raises: the errors of `specs.pin`, and ForbiddenError.
    """
    if isinstance(spec, RunSpec):
        raise InvalidInputError("A run trains elsewhere and is no work for a worker; start it with POST /api/v1/runs.")
    if isinstance(spec, PredictSpec):
        raise InvalidInputError("Predictions are asked for with their pictures: POST …/versions/{revision}/predict.")
    if isinstance(spec, UnpackSpec):
        raise InvalidInputError("An archive is unpacked by whoever takes it in; push a folder instead.")
    if isinstance(spec, JoinSpec):
        raise InvalidInputError("Machines are asked to join by the training that needs them; ask for one with hosts.")
    needs = resources or Resources()
    if needs.hosts > 1 and not isinstance(spec, TrainSpec):
        raise InvalidInputError("Only a training is spread over several machines; leave hosts at 1.", hosts=needs.hosts)
    pinned = pin(spec, actor)
    demand(actor, Action.RUN_JOBS, pinned.home.resource)
    return _queue(pinned, actor, needs, cloned_from=cloned_from)


def clone_job(*, job: Job, changes: dict[str, Any], actor: Actor, resources: Resources | None = None) -> Job:
    """Asks for a job like `job`, on the same pinned versions, but for `changes`, a JSON merge patch of its spec.

    `resources`: of another machine than the job was done on.

    Raises: InvalidInputError for changes that make no spec; the errors of `request_job`.
    """
    merged = merge_patch(job.spec, changes)
    if merged.get("kind") != job.kind:
        raise InvalidInputError(f"A clone stays a job of kind {job.kind!r}; ask for a new job instead.")
    try:
        spec: JobSpec = _SPEC.validate_python(merged)
    except ValidationError as error:
        faults = faults_in_words(error, within=1)  # a spec's kind comes first
        raise InvalidInputError(f"The changes make no {job.kind} job: {faults}.") from error
    needs = resources or Resources.model_validate(job.resources)
    return request_job(spec=spec, actor=actor, resources=needs, cloned_from=job)


def merge_patch(target: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """RFC 7396: objects are merged, null removes, everything else replaces."""
    kept = {key: value for key, value in target.items() if key not in patch}
    for key, value in patch.items():
        if isinstance(value, dict):
            before = target.get(key)
            kept[key] = merge_patch(before if isinstance(before, dict) else {}, value)
        elif value is not None:
            kept[key] = value
    return kept


def request_own_job(*, spec: JobSpec) -> Job:
    """What the platform asks for of its own accord; such a job reads the models that its spec names.

    Raises: the errors of `specs.pin`.
    """
    return _queue(pin(spec, reader_for(spec)), PLATFORM, Resources())


def _expected(spec: JobSpec, actor: Actor, resources: Resources) -> dict[str, Any]:
    """What a training will probably take, kept with it; later ones learn from how long it took."""
    if not isinstance(spec, TrainSpec):
        return {}
    return estimate_job(spec=spec, actor=actor, resources=resources).model_dump(mode="json")


def request_prediction(*, spec: PredictSpec, actor: Actor) -> Job:
    """For whoever may read the version: a job of seconds that writes nothing. Raises: the errors of `specs.pin`."""
    return _queue(pin(spec, actor), actor, Resources())


def request_unpacking(*, spec: UnpackSpec, actor: Actor) -> Job:
    """For whoever took the archive in. Raises: the errors of `specs.pin`, and ForbiddenError."""
    pinned = pin(spec, actor)
    demand(actor, Action.RUN_JOBS, pinned.home.resource)
    return _queue(pinned, actor, Resources())


def _queue(pinned: Pinned, actor: Actor, resources: Resources, *, cloned_from: Job | None = None) -> Job:
    with transaction.atomic():
        job = Job(
            team=pinned.home.team,
            kind=pinned.spec.kind,
            spec=pinned.spec.model_dump(mode="json"),
            created_by_id=actor.user_id or None,
            created_by_name=actor.name,
            repository=pinned.home.pk,
            resources=resources.model_dump(mode="json"),
            queue=queue_of(resources, kind=pinned.spec.kind),
            estimate=_expected(pinned.spec, actor, resources),
            cloned_from=cloned_from,
        )
        job.message = placement.words_for(job)
        job.save()
        origin = {"cloned_from": str(cloned_from.pk)} if cloned_from else {}
        audit.record(actor, "request job", pinned.home.full_name, job=str(job.pk), kind=job.kind, **origin)
        doorbell.ring_after_commit(job.pk)
    return job
