"""Proposals: commits on a branch of their own, `refs/pr/N`, which the Hub's clients call a pull request.

    proposal, version = propose(base="main", operations=…, message=…, actor=…)     with its first commit
    proposal = open_proposal(repository=…, title=…, actor=…)                       empty; commits follow

Whoever may read a public repository may propose to it. Their large files come through their own namespace's part of
the store, and only their own: proposing opens nothing of what the repository's team holds. Whoever may write takes a
proposal over by pushing the same to `main`; there is no discussion around it.
"""

from __future__ import annotations

from django.db import transaction

from steelyard_contracts.errors import ForbiddenError, InvalidInputError, RevisionNotFoundError
from steelyard_contracts.refs import DEFAULT_REVISION
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.models import Team
from steelyard_platform.accounts.permissions import Action, Actor, demand, may
from steelyard_platform.repos import commits
from steelyard_platform.repos.locking import lock_repository
from steelyard_platform.repos.models import Branch, Proposal, Repository, Version
from steelyard_platform.repos.revisions import find_branch, tip_of
from steelyard_platform.repos.webhooks import Discussed, Event, announce

PREFIX = "refs/pr/"
_SHORTEST_TITLE, _LONGEST_DESCRIPTION = 3, 65_536


@transaction.atomic
def open_proposal(
    *, repository: Repository, title: str, actor: Actor, description: str = "", base: str = DEFAULT_REVISION
) -> Proposal:
    """The caller has checked the right to propose. Raises: InvalidInputError, RevisionNotFoundError."""
    title = title.strip()
    if len(title) < _SHORTEST_TITLE:
        raise InvalidInputError(f"A proposal needs a title of at least {_SHORTEST_TITLE} letters.", field="title")
    repository = lock_repository(repository.pk)
    start = find_branch(repository, base.removeprefix("refs/heads/"))
    if start is None or start.name.startswith(PREFIX):
        raise RevisionNotFoundError(f"A proposal is made against a branch; {repository} has no branch {base!r}.")
    repository.last_proposal += 1
    repository.save(update_fields=["last_proposal"])
    proposal = Proposal.objects.create(
        repository=repository,
        number=repository.last_proposal,
        title=title[: commits.MAX_TITLE],
        description=description[:_LONGEST_DESCRIPTION],
        author_id=actor.user_id or None,
        author_name=actor.name,
    )
    Branch.objects.create(repository=repository, name=proposal.branch_name, base=tip_of(start), sees_base=True)
    audit.record(actor, "propose", repository.full_name, branch=proposal.branch_name)
    announce(repository, Event("create", "discussion", discussed=Discussed.proposal(proposal)))
    return proposal


@transaction.atomic
def propose(
    *, repository: Repository, base: str, operations: list[commits.Operation], message: commits.Message, actor: Actor
) -> tuple[Proposal, Version | None]:
    """A proposal and its first commit together. Raises: as `open_proposal` and `commits.commit`."""
    title = message.title if len(message.title.strip()) >= _SHORTEST_TITLE else f"Proposal: {message.title}"
    proposal = open_proposal(repository=repository, title=title, description=message.body, base=base, actor=actor)
    version = commits.commit(
        repository=repository, branch_name=proposal.branch_name, operations=operations, message=message, actor=actor
    )
    return proposal, version


def demand_commit(actor: Actor, repository: Repository, branch_name: str) -> None:
    """Whoever may write commits anywhere; others to the proposals that they opened. Raises: ForbiddenError."""
    if may(actor, Action.WRITE, repository.resource):
        return
    own = Proposal.objects.filter(repository=repository, author_id=actor.user_id or None)
    number = branch_name.removeprefix(PREFIX)
    if branch_name.startswith(PREFIX) and number.isdecimal() and actor.user_id and own.filter(number=number).exists():
        return
    demand(actor, Action.WRITE, repository.resource)


def sending_team(actor: Actor, repository: Repository) -> Team:
    """Through whose part of the store the actor's files come: the repository's, or their own.

    Raises: ForbiddenError.
    """
    if may(actor, Action.WRITE, repository.resource):
        return repository.team
    own = Team.objects.filter(is_personal=True, memberships__user=actor.user_id or None).first()
    if own is None:
        raise ForbiddenError(f"{actor.name} has no namespace to send files through.")
    return own
