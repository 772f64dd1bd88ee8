"""What a search leaves: its best trial, that one's version on the output's branch, and nothing of the others.

Each trial commits to a branch of its own, `search-1a2b3c4d/trial-7`. As soon as another is better, the branch goes to
the trash, from where it can be restored for as long as anything that was deleted. At the end the best version's files
are committed once more, to the branch that the search was asked for: no byte moves, the store has them already.
"""

from __future__ import annotations

from contextlib import suppress

from django.db import transaction
from django.db.models import F

from steelyard_contracts.errors import RevisionNotFoundError, SteelyardError
from steelyard_contracts.refs import DEFAULT_REVISION
from steelyard_contracts.searches import SearchSpec, TrialState
from steelyard_platform.accounts.permissions import Action, Actor, demand
from steelyard_platform.jobs import suggestions
from steelyard_platform.jobs.search_models import Search, Trial
from steelyard_platform.jobs.searches import requester_of
from steelyard_platform.jobs.suggestions import PastTrial
from steelyard_platform.repos import commits, tree
from steelyard_platform.repos.card import refresh_card
from steelyard_platform.repos.locking import lock_repository
from steelyard_platform.repos.models import Branch, Repository, Version
from steelyard_platform.repos.revisions import find_branch, resolve, tip_of
from steelyard_platform.repos.services import create_branch, delete_branch
from steelyard_platform.weights.models import LineageEdge, Relation
from steelyard_platform.weights.repeating import repeat_evaluations
from steelyard_platform.weights.services import promote_version, record_lineage


def choose_best(search: Search, spec: SearchSpec) -> None:
    """The complete trial with the best value, the earliest of equal ones; and what mattered."""
    complete = Trial.objects.filter(search=search, state=TrialState.COMPLETE)
    order = F("value").desc() if spec.direction == "maximize" else F("value").asc()
    rows = complete.order_by("number").values_list("number", "params", "value")
    past = [PastTrial(number, TrialState.COMPLETE, params, value) for number, params, value in rows]
    best = complete.order_by(order, "number").first()
    Search.objects.filter(pk=search.pk).update(best=best, importance=suggestions.importance(spec, past))


def drop_beaten(search: Search, spec: SearchSpec) -> None:
    """Puts the branches of ended trials into the trash, but for the best one's."""
    if spec.keep == "all":
        return
    best = Search.objects.filter(pk=search.pk).values("best")
    ended = Trial.objects.filter(search=search).exclude(pk__in=best).exclude(state=TrialState.RUNNING)
    _drop(search, set(ended.values_list("number", flat=True)))


def _drop(search: Search, numbers: set[int]) -> None:
    repository = Repository.objects.select_related("team").filter(pk=search.repository).first()
    if repository is None:
        return
    there = Branch.objects.filter(repository=repository, name__startswith=search.branches)
    for name in there.values_list("name", flat=True):
        number = name.removeprefix(search.branches)
        if number.isdecimal() and int(number) in numbers:
            with suppress(SteelyardError):  # something stands on it by now, or its requester may not delete it any more
                delete_branch(repository=repository, name=name, actor=requester_of(search))
                Trial.objects.filter(search=search, number=int(number)).update(version="")


# --- at the end ------------------------------------------------------------------------------------


def deliver(search: Search, spec: SearchSpec) -> None:
    """Puts the best version onto the output's branch and promotes it. Done again after a crash, it changes nothing."""
    current = Search.objects.select_related("best", "created_by").get(pk=search.pk)
    if not current.is_due:
        return
    problem = ""
    if current.best is not None:
        try:
            _deliver(current, current.best, spec)
        except SteelyardError as error:
            problem = f"The best version stays at {current.best.version}: {error}"
    changes = {"is_due": False} | ({"message": f"{current.message} {problem}".strip()} if problem else {})
    Search.objects.filter(pk=search.pk).update(**changes)


def _deliver(search: Search, best: Trial, spec: SearchSpec) -> None:
    actor = requester_of(search)
    version = _adopt(search, best, spec, actor)
    if spec.promote_to is None or version.aliases.filter(name=spec.promote_to).exists():
        return
    reason = f"the best of {search}: {spec.metric} {best.value:.6g} in trial {best.number}"
    promote_version(version=version, alias=spec.promote_to, reason=reason, actor=actor)


@transaction.atomic
def _adopt(search: Search, best: Trial, spec: SearchSpec, actor: Actor) -> Version:
    """The best version's files as the newest version of the output's branch, with its measures and its lineage.

    Raises: ForbiddenError; RevisionNotFoundError when somebody deleted the version.
    """
    repository = lock_repository(search.repository)
    demand(actor, Action.WRITE, repository.resource)
    label = Trial.objects.values_list("version", flat=True).get(pk=best.pk)
    made = _version_named(repository, label)
    if made.branch.name == spec.train.branch:  # another process came first
        return made
    title = f"{spec.metric} {best.value:.6g}: trial {best.number} of {search}"
    version = _commit_again(repository, made, spec.train.branch, title, actor)
    _tell_of(made, version)
    if spec.keep == "best":
        _drop(search, {best.number})
    label = f"{repository.full_name}@{version.label}"
    Trial.objects.filter(pk=best.pk).update(version=label)
    Search.objects.filter(pk=search.pk).update(version=label)
    return version


def _version_named(repository: Repository, label: str) -> Version:
    """Raises: RevisionNotFoundError."""
    found = resolve(repository, label.rpartition("@")[2]).version if label else None
    if found is None:
        raise RevisionNotFoundError(f"{label or 'the best version'} is not there any more.")
    return found


def _commit_again(repository: Repository, made: Version, branch: str, title: str, actor: Actor) -> Version:
    """The branch's files become those of `made`, whatever they were."""
    known = find_branch(repository, branch)
    if known is None and branch != DEFAULT_REVISION:
        known = create_branch(repository=repository, name=branch, start=None, actor=actor)
    before = tree.entries_at(tip_of(known) if known else None)
    wanted = {entry.path: entry for entry in tree.entries_at(made)}
    operations: list[commits.Operation] = [
        commits.DeleteFile(path) for path in before.values_list("path", flat=True) if path not in wanted
    ]
    for path, entry in wanted.items():
        assert entry.blob is not None  # noqa: S101 - live entries have content
        operations.append(commits.AddFile(path, entry.blob.sha256, is_lfs=entry.is_lfs))
    message = commits.Message(title)
    version = commits.commit(
        repository=repository, branch_name=branch, operations=operations, message=message, actor=actor
    )
    if version is None:
        raise RevisionNotFoundError(f"{repository.full_name}@{made.label} has no files.")
    version.repository = repository
    return version


def _tell_of(made: Version, version: Version) -> None:
    """What jobs have recorded of the one holds for the other: the files are the same."""
    edges = LineageEdge.objects.select_related("source").filter(target=made, declared=False)
    for edge in edges.exclude(relation=Relation.EVALUATED_ON):
        record_lineage(source=edge.source, target=version, relation=Relation(edge.relation), job=edge.job)
    repeat_evaluations(made=made, version=version)
    if version.branch.name == DEFAULT_REVISION:
        refresh_card(version.repository, version)
