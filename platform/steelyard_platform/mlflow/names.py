"""What MLflow's names mean here.

    team/shelf          that project, or that model repository
    team.shelf          the same for a registered model: the client's `models:/` addresses take no slash
    anything else       one of the token's own team; the name that was given is kept beside the repository's

The own team is the token's, or its person's.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from django.db.models import Case, CharField, Expression, Value, When
from django.db.models.functions import Coalesce, Concat

from steelyard_contracts.errors import ForbiddenError, InvalidInputError, InvalidNameError, NotFoundError
from steelyard_contracts.names import MAX_NAME_LENGTH, check_repository_name
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.models import Team
from steelyard_platform.accounts.permissions import Action, Actor
from steelyard_platform.accounts.services import team_named
from steelyard_platform.mlflow.models import LONGEST_NAME, Registration
from steelyard_platform.repos.models import Repository
from steelyard_platform.repos.queries import find_repository

_OTHER = re.compile(r"[^A-Za-z0-9._-]+")
_RUNS_OF_MARKS = re.compile(r"\.{2,}|-{2,}")


def own_team(actor: Actor) -> Team:
    """Raises: ForbiddenError for a machine's token, which has none."""
    team = Team.objects.filter(tokens=actor.token_id).first() if actor.token_id else None
    if team is None and actor.user_id:
        personal = Team.objects.filter(memberships__user=actor.user_id, is_personal=True)
        team = personal.filter(name__iexact=actor.name).first() or personal.first()
    if team is None:
        raise ForbiddenError("This token belongs to no person or team; name what you mean in full, as in 'team/shelf'.")
    return team


def slug(name: str) -> str:
    """A repository's name that is like this one. Raises: InvalidNameError when nothing is left of it."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    tidy = _RUNS_OF_MARKS.sub("-", _OTHER.sub("-", plain)).strip("-._")[:MAX_NAME_LENGTH].strip("-._")
    tidy = tidy.removesuffix(".git").removesuffix(".ipynb").strip("-._")
    if not tidy:
        raise InvalidNameError(f"{name!r} holds no letter or digit that a repository's name could be made of.")
    return check_repository_name(tidy)


def free_slug(team: Team, name: str) -> str:
    """The slug, with a number behind it where another thing has it already."""
    base = slug(name)
    taken = set(
        Repository.objects.filter(team=team, kind=RepositoryKind.MODEL, name__istartswith=base[: MAX_NAME_LENGTH - 5])
        .values_list("name", flat=True)
    )  # fmt: skip
    lower = {one.lower() for one in taken}
    return next(candidate for candidate in _candidates(base) if candidate.lower() not in lower)


def _candidates(base: str) -> Iterator[str]:
    yield base
    number = 2
    while True:
        yield f"{base[: MAX_NAME_LENGTH - 8]}-{number}"
        number += 1


def is_full(name: str) -> bool:
    """Whether the name is `team/shelf`."""
    return name.count("/") == 1 and not name.startswith("/") and not name.endswith("/")


def divided(name: str) -> tuple[Team, str]:
    """The team and the shelf of a full name. Raises: NotFoundError, InvalidNameError."""
    namespace, _, shelf = name.partition("/")
    try:
        team = team_named(namespace)
    except NotFoundError as error:
        raise NotFoundError(
            f"{name!r} is read as team/shelf, and there is no team {namespace!r}. Name one of your teams, or leave the "
            "slash out to mean your own."
        ) from error
    return team, check_repository_name(shelf)


def check_name(name: str, what: str) -> str:
    """Raises: InvalidInputError."""
    if not name.strip():
        raise InvalidInputError(f"{what} needs a name.", parameter="name")
    if len(name) > LONGEST_NAME:
        raise InvalidInputError(f"The name is {len(name)} letters long; at most {LONGEST_NAME}.", parameter="name")
    return name


def find_model(actor: Actor, name: str, action: Action = Action.READ) -> Repository:
    """The repository that a registered model's name means.

    Raises: NotFoundError in MLflow's words; ForbiddenError.
    """
    for full_name in _full_names(actor, name):
        try:
            found = find_repository(actor, RepositoryKind.MODEL, full_name, action)
        except NotFoundError:
            continue
        # A former name leads nowhere in MLflow, and may be taken again.
        if found.full_name.lower() == full_name.lower():
            return found
    raise NotFoundError(f"Registered Model with name={name} not found, or you may not read it.", name=name)


def _full_names(actor: Actor, name: str) -> Iterator[str]:
    if "/" in name:
        yield name
        return
    team = own_team(actor)
    known = Registration.objects.filter(repository__team=team, repository__is_trashed=False, name=name)
    if (registration := known.select_related("repository").first()) is not None:
        yield f"{team.name}/{registration.repository.name}"
        return
    # A repository under its own name, unless it is registered under another.
    if (
        not Registration.objects.filter(repository__team=team, repository__name__iexact=name)
        .exclude(name=name)
        .exists()
    ):
        yield f"{team.name}/{name}"
    parts = name.split(".")
    for cut in range(1, len(parts)):
        yield f"{'.'.join(parts[:cut])}/{'.'.join(parts[cut:])}"


def shown_name(own: Team, repository: str = "") -> Expression:
    """A registered model's name as a list shows and sorts it: the own team's as it was given, another's in full.

    `repository` leads to the repository's row, with the double underscores of a query.
    """
    full = Concat(f"{repository}team__name", Value("/"), f"{repository}name", output_field=CharField())
    kept = Coalesce(f"{repository}mlflow_registration__name", f"{repository}name", output_field=CharField())
    return Case(When(**{f"{repository}team": own.pk}, then=kept), default=full, output_field=CharField())


def name_for(repository: Repository, own: Team) -> str:
    """The same of one, whose registration came with it."""
    if repository.team_id != own.pk:
        return repository.full_name
    registration = _registration(repository)
    return registration.name if registration else repository.name


def _registration(repository: Repository) -> Registration | None:
    return getattr(repository, "mlflow_registration", None)
