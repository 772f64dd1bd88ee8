"""What addresses under `/api/v1/{models,datasets}` name: a kind, a repository, a version of it."""

from __future__ import annotations

from enum import StrEnum

from django.http import HttpRequest

from steelyard_contracts.errors import RevisionNotFoundError
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.accounts.permissions import Action
from steelyard_platform.repos import addresses  # noqa: F401 - registers the converter
from steelyard_platform.repos.models import Repository, Version
from steelyard_platform.repos.queries import find_repository
from steelyard_platform.repos.revisions import resolve


class Kind(StrEnum):
    """The word in the address."""

    MODELS = "models"
    DATASETS = "datasets"

    @property
    def kind(self) -> RepositoryKind:
        return RepositoryKind(self.removesuffix("s"))


def repository_at(request: HttpRequest, kind: Kind, namespace: str, name: str) -> Repository:
    """Raises: RepositoryNotFoundError."""
    return find_repository(api_actor(request), kind.kind, f"{namespace}/{name}", Action.SEE)


def version_in(repository: Repository, revision: str) -> Version:
    """Raises: RevisionNotFoundError."""
    version = resolve(repository, revision).version
    if version is None:
        raise RevisionNotFoundError(f"{repository.full_name} is empty.", revision=revision)
    version.repository = repository
    return version


def version_at(request: HttpRequest, kind: Kind, namespace: str, name: str, revision: str) -> Version:
    """With its repository and that one's team. Raises: RepositoryNotFoundError, RevisionNotFoundError."""
    return version_in(repository_at(request, kind, namespace, name), revision)
