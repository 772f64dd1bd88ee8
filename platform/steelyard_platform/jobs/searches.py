"""Searches as people ask for them: request, stop, cancel, resume, find and show. `trials` moves them on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from uuid import UUID

from django.db import transaction
from django.db.models import Count, QuerySet
from django.utils import timezone

from steelyard_contracts.errors import ConflictError, ForbiddenError, InvalidInputError, NotFoundError
from steelyard_contracts.jobs import JobState
from steelyard_contracts.searches import (
    MOST_TRIALS,
    Choices,
    MoreTrials,
    SearchSpec,
    SearchState,
    SearchView,
    TrialState,
    TrialView,
)
from steelyard_contracts.training import TrainSpec
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.permissions import Action, Actor, Scope, demand, may
from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.jobs import services
from steelyard_platform.jobs.models import Job
from steelyard_platform.jobs.search_bell import ring_search_after_commit
from steelyard_platform.jobs.search_models import Search, Trial
from steelyard_platform.jobs.specs import Pinned, pin

# Ends jobs for a search, whose own rights were checked when it was asked for.
STEWARD = Actor(name="steelyard", scope=Scope.ADMIN, is_superuser=True)
_ENDED = [state for state in SearchState if state.is_final]
_GOING = [state for state in SearchState if not state.is_final]


def request_search(*, spec: SearchSpec, actor: Actor) -> Search:
    """Checks everything that can be known now, pins the references and starts; the first trials begin at once.

    Raises: the errors of `specs.pin`, ForbiddenError, InvalidInputError.
    """
    pinned = pin(spec.train, actor)
    home = pinned.home
    demand(actor, Action.RUN_JOBS, home.resource)
    now = timezone.now()
    with transaction.atomic():
        search = Search.objects.create(
            team=home.team,
            name=spec.name or home.full_name,
            spec=_with_pinned(spec, pinned, actor).model_dump(mode="json"),
            created_by_id=actor.user_id or None,
            created_by_name=actor.name,
            started_at=now,
            repository=home.pk,
        )
        audit.record(actor, "request search", home.full_name, search=str(search.pk), trials=spec.limit)
        ring_search_after_commit(search.pk)
    return search


def _with_pinned(spec: SearchSpec, pinned: Pinned, actor: Actor) -> SearchSpec:
    """No trial trains on other data, or from other weights of the same name, than the others."""
    space = dict(spec.space)
    if isinstance(bases := space.get("base"), Choices):
        found = [_pinned_base(spec.train, base, actor) for base in bases.choices]
        space["base"] = Choices.model_validate({"choices": found})
    return spec.model_copy(update={"train": pinned.spec, "space": space})


def _pinned_base(train: TrainSpec, base: object, actor: Actor) -> str | None:
    pinned = pin(train.model_copy(update={"base": base}), actor).spec
    if not isinstance(pinned, TrainSpec):  # pragma: no cover - what goes in comes out
        raise InvalidInputError("A search tries trainings.")
    return pinned.base


def stop_search(*, search: Search, actor: Actor) -> Search:
    """No trial begins any more; those that run are let end. Raises: ForbiddenError, ConflictError."""
    demand(actor, Action.RUN_JOBS, search.team.resource)
    with transaction.atomic():
        _change(search, [SearchState.RUNNING], state=SearchState.STOPPING, message="")
        audit.record(actor, "stop search", str(search.pk))
        ring_search_after_commit(search.pk)
    return again(search)


def cancel_search(*, search: Search, actor: Actor) -> Search:
    """Ends it now, and its trials as a job is cancelled. Raises: ForbiddenError, ConflictError."""
    demand(actor, Action.RUN_JOBS, search.team.resource)
    with transaction.atomic():
        _change(search, _GOING, state=SearchState.CANCELLED, finished_at=timezone.now(), message="")
        cancel_trials(search, actor)
        audit.record(actor, "cancel search", str(search.pk))
    return again(search)


def cancel_trials(search: Search, actor: Actor) -> None:
    """Cancels the jobs that have not ended. In the transaction that ends the search."""
    for job in (
        Job.objects.select_related("team").filter(search=search).exclude(state__in=_FINAL_JOBS).order_by("trial")
    ):
        cancel_quietly(job, actor)


def cancel_quietly(job: Job, actor: Actor) -> bool:
    """False when the job has ended meanwhile."""
    try:
        with transaction.atomic():
            services.cancel_job(job=job, actor=actor)
    except ConflictError:
        return False
    return True


_FINAL_JOBS = [state for state in JobState if state.is_final]


def resume_search(*, search: Search, more: MoreTrials, actor: Actor) -> Search:
    """Goes on where it ended, with so many trials more than it had been asked for.

    Raises: ForbiddenError; ConflictError while it runs, or where no trial is left to try.
    """
    demand(actor, Action.RUN_JOBS, search.team.resource)
    spec = spec_of(search)
    wanted = spec.model_copy(update={"trials": spec.trials + more.trials})
    if wanted.trials > MOST_TRIALS:
        raise InvalidInputError(f"A search has at most {MOST_TRIALS:,} trials; this one would have {wanted.trials:,}.")
    if search.state in _ENDED and wanted.limit <= search.asked:
        is_used_up = spec.sampler == "grid" and spec.limit < spec.trials + more.trials
        hint = "every point of its grid was tried" if is_used_up else "say how many trials more"
        raise ConflictError(f"The search has had all its {search.asked} trials: {hint}.", asked=search.asked)
    with transaction.atomic():
        fresh = {"started_at": timezone.now(), "finished_at": None, "message": "", "is_due": False}
        _change(search, _ENDED, state=SearchState.RUNNING, spec=wanted.model_dump(mode="json"), **fresh)
        audit.record(actor, "resume search", str(search.pk), trials=wanted.limit)
        ring_search_after_commit(search.pk)
    return again(search)


def _change(search: Search, allowed: Iterable[SearchState], **values: object) -> None:
    """One conditional update: of two people at once, one is told. Raises: ConflictError."""
    if not Search.objects.filter(pk=search.pk, state__in=list(allowed)).update(**values):
        state = again(search).state
        raise ConflictError(f"The search is {state} already.", state=state)


# --- looking -------------------------------------------------------------------------------------


def find_search(search_id: UUID, actor: Actor) -> Search:
    """A search whose team the actor may read. Raises: NotFoundError, also for a stranger's."""
    search = Search.objects.select_related("team", "best").filter(pk=search_id).first()
    if search is None or not may(actor, Action.READ, search.team.resource):
        raise NotFoundError(f"There is no search {search_id}, or you may not see it.", search=str(search_id))
    return search


def visible_searches(actor: Actor) -> QuerySet[Search]:
    """Those of the teams that the actor may read, as `jobs` are listed."""
    if not may_read_teams(actor):
        return Search.objects.none()
    return Search.objects.filter(team_id__in=list(actor.roles)).select_related("team", "best")


def may_read_teams(actor: Actor) -> bool:
    """Whether the actor's token lets them read what their teams have."""
    return actor.scope in {Scope.READ, Scope.WRITE, Scope.ADMIN, Scope.SESSION}


def again(search: Search) -> Search:
    return Search.objects.select_related("team", "best").get(pk=search.pk)


def spec_of(search: Search) -> SearchSpec:
    return SearchSpec.model_validate(search.spec)


def requester_of(search: Search) -> Actor:
    """Trials are asked for with the rights that the search's requester has now. Raises: ForbiddenError."""
    if search.created_by is None or not search.created_by.is_active:
        raise ForbiddenError("The person who asked for this search is gone; somebody else can ask for it again.")
    return actor_for_user(search.created_by)


def counts_of(searches: Iterable[Search]) -> dict[UUID, Counter[TrialState]]:
    """How many trials each has, by their states: one query for all of them."""
    found: dict[UUID, Counter[TrialState]] = {search.pk: Counter() for search in searches}
    rows = Trial.objects.filter(search__in=list(found)).values_list("search", "state").annotate(count=Count("pk"))
    for search, state, count in rows.order_by():
        found[search][TrialState(state)] = count
    return found


def views_of(searches: list[Search]) -> list[SearchView]:
    counts = counts_of(searches)
    return [view_of(search, counts[search.pk]) for search in searches]


def view_of(search: Search, counts: Mapping[TrialState, int] | None = None) -> SearchView:
    trials = counts_of([search])[search.pk] if counts is None else counts
    return SearchView.model_validate(
        {
            "id": search.pk,
            "team": search.team.name,
            "name": search.name,
            "state": search.state,
            "spec": search.spec,
            "created_by": search.created_by_name,
            "created_at": search.created_at,
            "started_at": search.started_at,
            "finished_at": search.finished_at,
            "message": search.message,
            "asked": search.asked,
            "trials": dict(trials),
            "best": trial_view(search.best) if search.best else None,
            "version": search.version or None,
            "importance": search.importance,
        }
    )


def trial_view(trial: Trial) -> TrialView:
    return TrialView.model_validate(
        {
            "number": trial.number,
            "state": trial.state,
            "params": trial.params,
            "value": trial.value,
            "reports": len(trial.reports),
            "job": trial.job_id,
            "version": trial.version or None,
            "reason": trial.reason,
            "created_at": trial.created_at,
            "finished_at": trial.finished_at,
        }
    )
