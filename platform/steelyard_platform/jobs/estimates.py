"""How long a training takes and what it costs: before it starts, and while it runs.

What a training will look at is counted when it is asked for, and kept with it; its start and its end are there anyway.
So every job that succeeds tells how fast jobs like it are: the same network and picture size, on the same queue.
"""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.estimates import JobEstimate, Paced, Wanted, estimate
from steelyard_contracts.jobs import STOPPED_EARLY, JobSpec, JobState
from steelyard_contracts.refs import RepositoryKind, parse_ref
from steelyard_contracts.training import LOADED_AT, TrainSpec
from steelyard_contracts.workers import CPU, GPU, Resources, queue_of
from steelyard_contracts.zoo import zoo_model
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.datasets.checks import check_for_task
from steelyard_platform.datasets.services import summary_of
from steelyard_platform.jobs.models import Attempt, Job
from steelyard_platform.jobs.run_facts import silent_since
from steelyard_platform.repos.queries import find_existing_version

_LOOKED_AT = 300  # the newest trainings of the reader's teams
_COUNTED = 20  # the newest of those that are like it
_SEEN_ENOUGH = 0.01  # of the work, before its own pace says anything


def estimate_job(*, spec: JobSpec, actor: Actor, resources: Resources | None = None) -> JobEstimate:
    """Before it starts, on a machine with these resources; of a training alone more is known than the price.

    Raises: the errors of finding its dataset; DatasetUnusableError for one that it cannot train on.
    """
    needs = resources or Resources()
    price, currency = _price(needs)
    if not isinstance(spec, TrainSpec):
        return JobEstimate(price_per_hour=price, currency=currency)
    return estimate(Wanted(images_of(spec, actor), price, currency), _earlier(spec, actor, needs))


def images_of(spec: TrainSpec, actor: Actor) -> int | None:
    """Pictures that a training looks at, over all epochs; None while its dataset is being counted.

    Raises: the errors of finding its dataset; DatasetUnusableError for one that it cannot train on.
    """
    version = find_existing_version(actor, parse_ref(spec.dataset, kind=RepositoryKind.DATASET))
    summary = summary_of(version)
    if summary is not None:
        check_for_task(summary, version.repository.full_name, spec.task)
    return summary.pictures.get("train", 0) * spec.epochs if summary is not None else None


def remaining_seconds(job: Job) -> float | None:
    """Until the end, by the pace of the attempt that is at work; None where nobody can tell."""
    if not JobState(job.state).is_held or job.started_at is None or not _SEEN_ENOUGH <= job.progress < 1:
        return None
    if silent_since(job) is not None or (job.kind == "train" and job.progress <= LOADED_AT):
        return None
    began, before = (job.attempt > 1 and _attempt_of(job)) or (job.started_at, 0.0)
    done = job.progress - before
    if done < _SEEN_ENOUGH:  # one that went on from a checkpoint, and has hardly begun: what was expected of the whole
        expected = job.estimate.get("seconds")
        return round(expected * (1 - job.progress), 1) if expected else None
    return round((timezone.now() - began).total_seconds() * (1 - job.progress) / done, 1)


def _attempt_of(job: Job) -> tuple[datetime, float] | None:
    """When the present one began, and how far the job was then."""
    return Attempt.objects.filter(job=job, number=job.attempt).values_list("started_at", "progress_before").first()


def _earlier(spec: TrainSpec, actor: Actor, needs: Resources) -> list[Paced]:
    """The newest runs of its network and picture size that came through at the first attempt."""
    queue = queue_of(needs, kind=spec.kind)
    rows = Job.objects.filter(
        kind=spec.kind, state=JobState.SUCCEEDED, team_id__in=list(actor.roles), queue=queue, attempt=1
    ).order_by("-finished_at")
    newest = [
        row for row in rows.only(*_READ)[:_LOOKED_AT] if _together(row.resources) == (needs.hosts, needs.processes)
    ]
    done = [(_traits(row.spec), _pace(row)) for row in newest]
    mine = _traits(spec.model_dump(mode="json"))
    return [pace for traits, pace in done if pace and traits == mine][:_COUNTED]


_READ = ("spec", "estimate", "result", "resources", "started_at", "finished_at")


def _together(resources: dict[str, Any]) -> tuple[int, int]:
    """Machines, and processes on each."""
    return resources.get("hosts", 1), resources.get("processes", 1)


def _traits(spec: dict[str, Any]) -> tuple[str, str, str]:
    """(task, picture size, network). A base's network is that of its repository."""
    network = spec.get("model") or spec.get("architecture") or str(spec.get("base") or "").partition("@")[0]
    return str(spec.get("task")), _side(spec), json.dumps(network, sort_keys=True)


def _side(spec: dict[str, Any]) -> str:
    """Of the pictures; where it was left open, what the network is meant for, or the base's, whichever that is."""
    if spec.get("image_size") is not None:
        return str(spec["image_size"])
    if spec.get("model"):
        with suppress(InvalidInputError):  # of a zoo before this one
            return str(zoo_model(spec["model"]).image_size)
    return "as " + str(spec.get("base") or "").partition("@")[0]


def _pace(job: Job) -> Paced | None:
    images = job.estimate.get("images")
    if not images or job.started_at is None or job.finished_at is None or job.result.get(STOPPED_EARLY):
        return None
    epochs, done = job.spec.get("epochs"), job.result.get("epochs")
    share = done / epochs if isinstance(done, int) and epochs else 1.0
    whole = (job.finished_at - job.started_at) / timedelta(seconds=1)
    trained = min(job.result.get("train_seconds", whole), whole)
    return Paced(images * share, trained, whole - trained)


def _price(needs: Resources) -> tuple[float | None, str]:
    """Per hour, of the dearest label that the job asks for."""
    environment = settings.ENVIRONMENT
    labels = [*needs.labels, *([GPU] if needs.gpus or needs.gpu_memory_gb else [])] or [CPU]
    prices = [environment.prices[label] for label in labels if label in environment.prices]
    return (max(prices), environment.currency) if prices else (None, "")
