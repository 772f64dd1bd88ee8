"""Finding repositories: every list and look-up checks the reader's right here, in the query itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from uuid import UUID

from django.db.models import Count, Q, QuerySet, Value
from django.db.models.functions import Concat

from steelyard_contracts.errors import GatedError, RepositoryNotFoundError, RevisionNotFoundError
from steelyard_contracts.refs import Ref, RepositoryKind
from steelyard_platform.accounts.permissions import Action, Actor, Scope, demand, may
from steelyard_platform.repos.admission import is_admitted
from steelyard_platform.repos.models import FormerName, Repository, Version
from steelyard_platform.repos.revisions import Snapshot, resolve


def visible_repositories(actor: Actor) -> QuerySet[Repository]:
    """What `may(actor, SEE, …)` allows, as a query."""
    everything = Repository.objects.select_related("team")
    if actor.is_superuser and actor.scope in {Scope.ADMIN, Scope.SESSION}:
        return everything
    granted = [repository for repository, action in actor.grants if action is Action.READ]
    readable = Q(pk__in=granted) | Q(team_id__in=list(actor.roles))
    if actor.scope not in {Scope.WORKER, Scope.DEVICE, Scope.JOB}:
        readable |= Q(is_public=True)
    return everything.filter(readable)


def find_repository(actor: Actor, kind: RepositoryKind, full_name: str, action: Action = Action.READ) -> Repository:
    """The repository, if the actor may do `action` to it.

    Raises:
        RepositoryNotFoundError: it does not exist, or the actor may not see it: nobody can tell which.
        GatedError: only a request for access, and a yes to it, stands between the actor and this.
        ForbiddenError, AuthenticationError: it may be seen, but not this.
    """
    namespace, _, name = full_name.partition("/")
    repositories = Repository.objects.select_related("team").filter(kind=kind)
    repository = repositories.filter(team__name__iexact=namespace, name__iexact=name).first()
    if repository is None:
        former = FormerName.objects.select_related("repository__team").filter(repository__is_trashed=False)
        found = former.filter(kind=kind, full_name__iexact=full_name).first()
        repository = found.repository if found else None
    if repository is None or not may(actor, Action.SEE, repository.resource):
        raise RepositoryNotFoundError(
            f"There is no {kind} {full_name}, or you may not read it. Check the name and the token.",
            repository=full_name,
        )
    if not is_allowed(actor, action, repository):
        if may(actor, action, replace(repository.resource, is_gated=False)):
            raise GatedError(
                f"Access to {kind} {repository.full_name} is restricted and you are not in the authorized list. "
                f"Ask for access at {repository.page}/access.",
                repository=repository.full_name,
            )
        demand(actor, action, repository.resource)
    return repository


def is_allowed(actor: Actor, action: Action, repository: Repository) -> bool:
    """`may`, and the gate: it opens for whoever would be allowed without it and was let in."""
    resource = repository.resource
    if may(actor, action, resource):
        return True
    without_gate = resource.is_gated and may(actor, action, replace(resource, is_gated=False))
    return without_gate and is_admitted(actor, repository)


def find_version(actor: Actor, ref: Ref, action: Action = Action.READ) -> Snapshot:
    """Raises: as `find_repository`, and RevisionNotFoundError."""
    return resolve(find_repository(actor, ref.kind, ref.repository, action), ref.revision_or_default)


def find_existing_version(actor: Actor, ref: Ref, action: Action = Action.READ) -> Version:
    """The version itself, with its repository and team. Raises: as `find_version`; RevisionNotFoundError when empty."""
    snapshot = find_version(actor, ref, action)
    if snapshot.version is None:
        raise RevisionNotFoundError(
            f"{ref.repository} is empty; commit something to it first.", repository=ref.repository
        )
    snapshot.version.repository = snapshot.repository  # it came with its team
    return snapshot.version


def search(repositories: QuerySet[Repository], text: str) -> QuerySet[Repository]:
    """Those whose `namespace/name` holds the text."""
    return repositories.annotate(full=Concat("team__name", Value("/"), "name")).filter(full__icontains=text)


def version_counts(repositories: Iterable[Repository]) -> dict[UUID, int]:
    """How many versions each has, without those in the trash. One query; whoever has none is left out."""
    rows = Version.objects.filter(repository__in=[one.pk for one in repositories]).order_by()
    return dict(rows.values_list("repository").annotate(Count("pk")))
