"""Proposals: a commit on a branch of its own, `refs/pr/N`, which the Hub's clients call a pull request.

It is read by that name like any revision, and further commits can go to it. Whoever may write takes it over by pushing
the same to `main`; there is no discussion around it.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction

from steelyard_platform.accounts import audit
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.repos import commits
from steelyard_platform.repos.models import Branch, Repository, Version
from steelyard_platform.repos.revisions import Snapshot

PREFIX = "refs/pr/"


@dataclass(frozen=True, slots=True)
class Proposal:
    number: int
    version: Version | None

    @property
    def branch(self) -> str:
        return f"{PREFIX}{self.number}"


@transaction.atomic
def propose(
    *, start: Snapshot, operations: list[commits.Operation], message: commits.Message, actor: Actor
) -> Proposal:
    """Makes the branch and its first commit together. Raises: as `commits.commit`."""
    repository = Repository.objects.select_for_update(of=("self",)).select_related("team").get(pk=start.repository.pk)
    repository.last_proposal += 1
    repository.save(update_fields=["last_proposal"])
    branch = Branch.objects.create(
        repository=repository, name=f"{PREFIX}{repository.last_proposal}", base=start.version, sees_base=True
    )
    version = commits.commit(
        repository=repository, branch_name=branch.name, operations=operations, message=message, actor=actor
    )
    audit.record(actor, "propose", repository.full_name, branch=branch.name)
    return Proposal(repository.last_proposal, version)
