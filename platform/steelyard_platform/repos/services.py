"""Writes about repositories, other than commits. Each owns its transaction and its audit row."""

from __future__ import annotations

from functools import partial

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from steelyard_contracts.errors import (
    AlreadyExistsError,
    ConflictError,
    ForbiddenError,
    InvalidNameError,
    NotFoundError,
    RevisionNotFoundError,
)
from steelyard_contracts.names import check_reference_name, check_repository_name
from steelyard_contracts.refs import DEFAULT_REVISION, RepositoryKind
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.models import Team
from steelyard_platform.accounts.permissions import Action, Actor, Scope, demand
from steelyard_platform.repos.card import refresh_card
from steelyard_platform.repos.deletion import all_of, one_branch, one_version
from steelyard_platform.repos.grafting import following_on, preceding_on
from steelyard_platform.repos.holds import refuse_if_held
from steelyard_platform.repos.locking import lock_repository, lock_version
from steelyard_platform.repos.models import Alias, AliasMove, Branch, FormerName, Repository, Tag, Version
from steelyard_platform.repos.revisions import ALIAS_PREFIX, Snapshot, find_branch, resolve, tip_of
from steelyard_platform.repos.search import note_size, rename_document, write_document
from steelyard_platform.repos.signals import versions_moved
from steelyard_platform.repos.trash import keep_branch, keep_repository, keep_version
from steelyard_platform.repos.webhooks import Event, announce, announce_ref, ref_of

_LONGEST_REASON = 500


@transaction.atomic
def create_repository(
    *, team: Team, name: str, kind: RepositoryKind, actor: Actor, public: bool | None = None
) -> Repository:
    """Raises: InvalidNameError, ForbiddenError, AlreadyExistsError."""
    check_repository_name(name)
    demand(actor, Action.CREATE, team.resource)
    if Repository.objects.filter(team=team, kind=kind, name__iexact=name).exists():
        raise _taken(kind, team, name)
    if public is None:
        public = settings.ENVIRONMENT.default_visibility == "public"
    try:
        with transaction.atomic():
            repository = Repository.objects.create(
                team=team, name=name, kind=kind, is_public=public, updated_at=timezone.now()
            )
    except IntegrityError as error:  # somebody was quicker by a moment
        raise _taken(kind, team, name) from error
    FormerName.objects.filter(kind=kind, full_name__iexact=repository.full_name).delete()
    Branch.objects.create(repository=repository, name=DEFAULT_REVISION)
    write_document(repository)
    audit.record(actor, "create repository", repository.full_name, kind=kind)
    announce(repository, Event("create", "repo"))
    return repository


@transaction.atomic
def delete_repository(*, repository: Repository, actor: Actor) -> None:
    """Puts it into the trash; its name is free again.

    Raises: ForbiddenError; ConflictError while a release, a device or a gate refers to it.
    """
    repository = lock_repository(repository.pk)
    demand(actor, Action.MANAGE, repository.resource)
    refuse_if_held(all_of(repository), actor)
    keep_repository(repository, actor)
    announce(repository, Event("delete", "repo"))
    audit.record(actor, "delete repository", repository.full_name, kind=repository.kind)


@transaction.atomic
def move_repository(*, repository: Repository, team: Team, name: str, actor: Actor) -> Repository:
    """Renames or hands over; the old address leads to the new one. Raises: ForbiddenError, AlreadyExistsError."""
    check_repository_name(name)
    demand(actor, Action.MANAGE, repository.resource)
    demand(actor, Action.CREATE, team.resource)
    former = repository.full_name
    taken = Repository.objects.filter(team=team, kind=repository.kind, name__iexact=name).exclude(pk=repository.pk)
    if taken.exists():
        raise _taken(repository.kind, team, name)
    repository.team, repository.name = team, name
    repository.save(update_fields=["team", "name"])
    rename_document(repository)
    Repository.everything.filter(trash_of=repository).update(team=team, name=name)
    FormerName.objects.filter(kind=repository.kind, full_name__iexact=repository.full_name).delete()
    if former.lower() != repository.full_name.lower():
        FormerName.objects.filter(kind=repository.kind, full_name__iexact=former).delete()
        FormerName.objects.create(repository=repository, kind=repository.kind, full_name=former)
    audit.record(actor, "move repository", repository.full_name, before=former)
    announce(repository, Event("move", "repo", moved_from=former))
    return repository


@transaction.atomic
def set_visibility(*, repository: Repository, public: bool, actor: Actor) -> None:
    """Raises: ForbiddenError."""
    demand(actor, Action.MANAGE, repository.resource)
    repository.is_public = public
    repository.save(update_fields=["is_public"])
    audit.record(actor, "set visibility", repository.full_name, public=public)
    announce(repository, Event("update", "repo.config", config={"private": not public}))


@transaction.atomic
def create_branch(
    *, repository: Repository, name: str, start: Snapshot | None, actor: Actor, sees_base: bool = True
) -> Branch:
    """A branch from `start`. With `sees_base=False` it begins empty, as a variant does.

    Raises: InvalidNameError, ForbiddenError, AlreadyExistsError.
    """
    demand(actor, Action.WRITE, repository.resource)
    check_reference_name(name, "branch")
    if name.startswith("refs/"):
        raise InvalidNameError(f"A branch's name cannot begin with refs/, as {name!r} does.", name=name)
    if find_branch(repository, name) is not None:
        raise AlreadyExistsError(f"Reference refs/heads/{name} already exists in {repository.full_name}.", name=name)
    # A tag of the same name goes first wherever only the name is given; refs/heads/ still leads to the branch.
    _check_not_taken(repository, name, among=(Alias,))
    if start is not None and start.version is not None:
        lock_version(start.version)
    branch = Branch.objects.create(
        repository=repository, name=name, base=start.version if start else None, sees_base=sees_base
    )
    audit.record(actor, "create branch", repository.full_name, branch=name)
    announce_ref(repository, f"refs/heads/{name}", after=start.version if start else None)
    return branch


@transaction.atomic
def delete_branch(*, repository: Repository, name: str, actor: Actor) -> None:
    """Puts it into the trash, with its versions; its name is free again.

    Raises: ForbiddenError, RevisionNotFoundError; ConflictError while something else stands on its versions.
    """
    refuse_jobs(actor)
    repository = lock_repository(repository.pk)
    demand(actor, Action.WRITE, repository.resource)
    branch = find_branch(repository, name)
    if branch is None:
        raise RevisionNotFoundError(f"Invalid rev id: {repository.full_name} has no branch {name!r}.", revision=name)
    if name == DEFAULT_REVISION:
        raise ConflictError(f"Cannot delete refs/heads/{DEFAULT_REVISION}: every repository keeps it.")
    refuse_if_held(one_branch(repository, branch), actor)
    announce_ref(repository, ref_of(name), before=tip_of(branch))
    keep_branch(repository, branch, actor)
    versions_moved.send(Repository, repository=repository)
    audit.record(actor, "delete branch", repository.full_name, branch=name)


@transaction.atomic
def delete_version(*, version: Version, actor: Actor) -> None:
    """Puts it into the trash; those before and after it keep what they hold.

    Raises: ForbiddenError; ConflictError while a name, a branch or a release stands on it, or something was made of it.
    """
    refuse_jobs(actor)
    repository = lock_version(version)
    demand(actor, Action.MANAGE, repository.resource)
    refuse_if_held(one_version(repository, version), actor)
    branch = version.branch
    was_head = following_on(branch, version.number) is None
    keep_version(repository, version, actor)
    if was_head:
        note_head(repository, branch, before=version, after=preceding_on(branch, version.number))
    versions_moved.send(Repository, repository=repository)
    audit.record(actor, "delete version", repository.full_name, version=version.label, commit=version.commit_id)


def note_head(repository: Repository, branch: Branch, *, before: Version | None, after: Version | None) -> None:
    """A branch ends with another version now, which nobody has committed. In the transaction that has moved it."""
    announce_ref(repository, ref_of(branch.name), before=before, after=after)
    if branch.name == DEFAULT_REVISION:
        note_size(repository, after.total_size if after else 0)
        # Reading the card is not for a transaction: it lies in the object store.
        transaction.on_commit(partial(_read_card_of_main, repository), robust=True)


def _read_card_of_main(repository: Repository) -> None:
    """Looks its newest version up anew: the one that was moved still says where it lay before."""
    refresh_card(repository, resolve(repository).version)


@transaction.atomic
def create_tag(*, repository: Repository, name: str, at: Snapshot, message: str, actor: Actor) -> Tag:
    """Raises: InvalidNameError, ForbiddenError, AlreadyExistsError, RevisionNotFoundError for an empty repository."""
    demand(actor, Action.WRITE, repository.resource)
    check_reference_name(name, "tag")
    _check_not_taken(repository, name, among=(Branch, Alias))
    if at.version is None:
        raise RevisionNotFoundError(f"{repository.full_name} has no version to tag yet.")
    lock_version(at.version)
    try:
        with transaction.atomic():
            tag = Tag.objects.create(repository=repository, name=name, version=at.version, message=message)
    except IntegrityError as error:
        raise AlreadyExistsError(f"{repository.full_name} has a tag {name!r} already.", name=name) from error
    audit.record(actor, "create tag", repository.full_name, tag=name, version=at.version.label)
    announce_ref(repository, f"refs/tags/{name}", after=at.version)
    return tag


@transaction.atomic
def delete_tag(*, repository: Repository, name: str, actor: Actor) -> None:
    """Raises: ForbiddenError, RevisionNotFoundError."""
    refuse_jobs(actor)
    demand(actor, Action.WRITE, repository.resource)
    tag = Tag.objects.select_related("version").filter(repository=repository, name=name).first()
    if tag is None:
        raise RevisionNotFoundError(f"{repository.full_name} has no tag {name!r}.", revision=name)
    tag.delete()
    announce_ref(repository, f"refs/tags/{name}", before=tag.version)
    audit.record(actor, "delete tag", repository.full_name, tag=name)


@transaction.atomic
def move_alias(
    *,
    version: Version,
    name: str,
    reason: str,
    verdicts: list[dict[str, object]],
    actor: Actor,
    is_approved: bool = False,
) -> Alias:
    """Moves or makes an alias, and writes its history. Gates are the caller's: see `weights.promote_version`.

    With `is_approved`, a maintainer has said yes to this very move, and whoever may write may make it.

    Raises: InvalidNameError, ForbiddenError, AlreadyExistsError for the name of a branch or tag.
    """
    repository = version.repository
    refuse_jobs(actor)
    check_alias_name(repository, name)
    lock_version(version)
    alias = _alias_named(repository, name)
    needed = Action.MANAGE if alias and alias.is_protected and not is_approved else Action.WRITE
    demand(actor, needed, repository.resource)
    before = alias.version if alias else None
    if before == version and alias is not None:
        return alias
    if alias is None:
        alias = Alias(repository=repository, name=name)
    alias.version = version
    alias.save()
    _note_move(repository, name, before=before, after=version, reason=reason, actor=actor, verdicts=verdicts)
    audit.record(actor, "move alias", repository.full_name, alias=name, to=version.label)
    return alias


@transaction.atomic
def delete_alias(*, repository: Repository, name: str, reason: str, actor: Actor) -> None:
    """Its history stays. Raises: ForbiddenError, also for a protected alias and no maintainer; NotFoundError."""
    refuse_jobs(actor)
    lock_repository(repository.pk)
    alias = _alias_named(repository, name)
    demand(actor, Action.MANAGE if alias and alias.is_protected else Action.WRITE, repository.resource)
    if alias is None:
        raise _no_alias(repository, name)
    alias.delete()
    _note_move(repository, name, before=alias.version, after=None, reason=reason, actor=actor)
    audit.record(actor, "delete alias", repository.full_name, alias=name, was=alias.version.label)


def check_alias_name(repository: Repository, name: str) -> None:
    """Raises: InvalidNameError; AlreadyExistsError for the name of a branch or tag."""
    check_reference_name(name, "alias")
    if name.startswith("refs/"):
        raise InvalidNameError(f"An alias's name cannot begin with refs/, as {name!r} does.", name=name)
    _check_not_taken(repository, name, among=(Branch, Tag))


def _alias_named(repository: Repository, name: str) -> Alias | None:
    return Alias.objects.select_related("version").filter(repository=repository, name=name).first()


def _no_alias(repository: Repository, name: str) -> NotFoundError:
    return NotFoundError(f"{repository.full_name} has no alias {name!r}.", alias=name)


def _note_move(
    repository: Repository,
    name: str,
    *,
    before: Version | None,
    after: Version | None,
    reason: str,
    actor: Actor,
    verdicts: list[dict[str, object]] | None = None,
) -> None:
    """The row of the alias's history, and the word to those who watch."""
    AliasMove.objects.create(
        repository=repository,
        alias=name,
        from_version=before,
        to_version=after,
        actor=actor.name,
        reason=tidy_reason(reason),
        verdicts=verdicts or [],
    )
    announce_ref(repository, f"{ALIAS_PREFIX}{name}", before=before, after=after)


def tidy_reason(reason: str) -> str:
    """As it is kept: short, and without what PostgreSQL keeps in no text."""
    return reason.replace("\0", "").strip()[:_LONGEST_REASON]


def refuse_jobs(actor: Actor) -> None:
    """A job may add versions to its output, not decide what they are called. Raises: ForbiddenError."""
    if actor.scope is Scope.JOB:
        raise ForbiddenError("A job's token adds versions; names are moved and deleted by people.")


def _taken(kind: str, team: Team, name: str) -> AlreadyExistsError:
    full_name = f"{team.name}/{name}"
    return AlreadyExistsError(f"A {kind} repository called {full_name} already exists.", name=full_name)


def _check_not_taken(repository: Repository, name: str, *, among: tuple[type[Branch | Tag | Alias], ...]) -> None:
    """One name, one meaning: an alias called like a branch would hide it. Raises: AlreadyExistsError."""
    for kind in among:
        if kind.objects.filter(repository=repository, name=name).exists():
            what = {Branch: "a branch", Tag: "a tag", Alias: "an alias"}[kind]
            raise AlreadyExistsError(f"{repository.full_name} already has {name!r} as {what}; choose another name.")


@transaction.atomic
def protect_alias(*, repository: Repository, name: str, protected: bool, actor: Actor) -> None:
    """Raises: ForbiddenError, NotFoundError."""
    demand(actor, Action.MANAGE, repository.resource)
    if not Alias.objects.filter(repository=repository, name=name).update(is_protected=protected):
        raise _no_alias(repository, name)
    audit.record(actor, "protect alias", repository.full_name, alias=name, protected=protected)
