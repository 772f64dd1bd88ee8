"""Rows that tests begin with, made through the services."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts import services as accounts
from steelyard_platform.accounts.models import Team, User
from steelyard_platform.accounts.permissions import OPERATOR, Scope
from steelyard_platform.accounts.tokens import actor_for_user, issue_token
from steelyard_platform.repos import commits
from steelyard_platform.repos.blobs import Pack
from steelyard_platform.repos.models import Repository, Version
from steelyard_platform.repos.restoring import empty
from steelyard_platform.repos.services import create_repository
from steelyard_platform.repos.trash import visible_items

_numbers = itertools.count(1)


def make_user(name: str | None = None) -> User:
    return accounts.create_user(username=name or f"user{next(_numbers)}", password=None, actor=OPERATOR)


def make_team(owner: User, name: str | None = None) -> Team:
    return accounts.create_team(name=name or f"team{next(_numbers)}", owner=owner, actor=OPERATOR)


def make_repository(
    team: Team, owner: User, name: str = "thing", kind: RepositoryKind = RepositoryKind.MODEL, *, public: bool = False
) -> Repository:
    return create_repository(team=team, name=name, kind=kind, actor=actor_for_user(owner), public=public)


def token_for(user: User, scope: Scope = Scope.WRITE) -> str:
    return issue_token(name="test", scope=scope, user=user)[1]


def commit_files(
    repository: Repository,
    owner: User,
    files: Mapping[str, bytes | None],
    *,
    branch: str = "main",
    parent: str | None = None,
) -> Version:
    """Commits files; None deletes."""
    operations: list[commits.Operation] = []
    with Pack() as pack:
        for path, data in files.items():
            if data is None:
                operations.append(commits.DeleteFile(path))
            else:
                operations.append(commits.AddFile(path, pack.add(data), is_lfs=False))
        pack.store(repository.team)
    version = commits.commit(
        repository=repository,
        branch_name=branch,
        operations=operations,
        message=commits.Message("a commit"),
        actor=actor_for_user(owner),
        parent=parent,
    )
    assert version is not None
    return version


def picture_dataset(repository: Repository, owner: User, labels: str = "ab", count: int = 3) -> Version:
    """A dataset of the right layout; its pictures are never decoded by the platform."""
    files = {
        f"{split}/{label}/{number}.png": f"{split}{label}{number}".encode()
        for split in ("train", "validation")
        for label in labels
        for number in range(count)
    }
    return commit_files(repository, owner, files)


def empty_trash(owner: User) -> None:
    """Everything in it that they may empty, the oldest first."""
    actor = actor_for_user(owner)
    for item in visible_items(actor).order_by("deleted_at", "pk"):
        empty(item=item, actor=actor)
