"""Jobs that have not ended: expiry leaves them what they name. People are told, and may delete it all the same."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Q, QuerySet

from steelyard_contracts.jobs import JobState
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.permissions import Action, Actor, may
from steelyard_platform.jobs.models import Job
from steelyard_platform.jobs.services import asked_for
from steelyard_platform.repos.holds import ALWAYS, MOST_NAMED, NEVER, Doomed, Found
from steelyard_platform.repos.models import Repository

# Where a spec names a version of a dataset, and of a model.
_FIELDS = {RepositoryKind.DATASET: ("dataset", "datasets"), RepositoryKind.MODEL: ("base", "model")}
_LISTS = frozenset({"datasets"})
_NOT_ENDED = [state for state in JobState if not state.is_final]


class JobHolder:
    kind = "job"
    told, stops = ALWAYS, NEVER

    def held(self, repository: Repository) -> Q:
        return Q(number__in=[number for _, number in _named(repository)])

    def find(self, doomed: Doomed, actor: Actor) -> Iterator[Found]:
        named = _named(doomed.repository)
        going = set(doomed.versions.filter(number__in={number for _, number in named}).values_list("number", flat=True))
        using = [(job, number) for job, number in named if number in going]
        for job, number in using[: MOST_NAMED + 1]:
            visible = may(actor, Action.READ, job.team.resource)
            what = f"the {job.kind} job {str(job.pk)[:8]}" if visible else "a job that you may not see"
            yield Found(str(job.pk) if visible else "", f"v{number}", f"{what} uses v{number} and has not ended")


def _named(repository: Repository) -> list[tuple[Job, int]]:
    """Jobs that have not ended, with the versions of the repository that their specs are pinned to. One query."""
    fields, prefix = _FIELDS[RepositoryKind(repository.kind)], f"{repository.full_name}@v"
    names = Q()
    for field in fields:
        # A list is looked at as its JSON.
        condition = ("icontains", f'"{prefix}') if field in _LISTS else ("startswith", prefix)
        names |= Q((f"spec__{field}__{condition[0]}", condition[1]))
    jobs: QuerySet[Job] = asked_for().filter(names, state__in=_NOT_ENDED).select_related("team")
    pinned = ((job, text) for job in jobs.order_by("-created_at") for field in fields for text in _texts(job, field))
    numbers = ((job, text.removeprefix(prefix)) for job, text in pinned if text.startswith(prefix))
    return [(job, int(number)) for job, number in numbers if number.isdecimal()]


def _texts(job: Job, field: str) -> list[str]:
    said = job.spec.get(field) or []
    return [str(text) for text in said] if isinstance(said, list) else [str(said)]
