"""What this client says of a project or a dataset, as the card has it: description, tags and license."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from steelyard_contracts.errors import InvalidInputError
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.repos.card import card_text, parse_metadata, split_card
from steelyard_platform.repos.card_editing import edit_card
from steelyard_platform.repos.licenses import KNOWN_LICENSES
from steelyard_platform.repos.models import Repository
from steelyard_platform.repos.revisions import resolve
from steelyard_platform.repos.services import move_repository, set_visibility
from steelyard_platform.ultralytics.http import NotHereError, text_of
from steelyard_platform.ultralytics.reports import slug_of

_IN_CARD = frozenset({"description", "tags", "license"})
_KEPT = _IN_CARD | {"name", "visibility", "owner", "project", "dataset"}
# Of what an installation of one's own has no use for: said to be so, never dropped without a word.
_NONE = "None"


def refuse_others(body: Mapping[str, Any], known: frozenset[str] = _KEPT) -> None:
    """Raises: NotHereError for a field that has no place here."""
    others = sorted(name for name, value in body.items() if name not in known and value not in (None, [], {}))
    if others:
        raise NotHereError(f"Steelyard has no place for {', '.join(others)}; it keeps {', '.join(sorted(known))}.")


def visibility_of(body: Mapping[str, Any]) -> bool | None:
    """Whether it is to be public; None when nothing is said. Raises: InvalidInputError."""
    match body.get("visibility"):
        case None:
            return None
        case "public":
            return True
        case "private":
            return False
        case other:
            raise InvalidInputError(f"It is public or private, not {str(other)[:60]!r}.", field="visibility")


def describe(repository: Repository, body: Mapping[str, Any], actor: Actor) -> None:
    """Raises: ForbiddenError, InvalidInputError."""
    public = visibility_of(body)
    if public is not None and public != repository.is_public:
        set_visibility(repository=repository, public=public, actor=actor)
    said = {name: body[name] for name in _IN_CARD if body.get(name) is not None}
    if said:
        _write_card(repository, _checked(said), actor)


def _checked(said: dict[str, Any]) -> dict[str, Any]:
    tags, description = said.get("tags", []), said.get("description", "")
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags) or not isinstance(description, str):
        raise InvalidInputError("'tags' is a list of texts, and 'description' a text.")
    if "license" in said:
        name = str(said["license"])
        said["license"] = None if name == _NONE else name.lower() if name.lower() in KNOWN_LICENSES else "other"
    return said


def _write_card(repository: Repository, said: dict[str, Any], actor: Actor) -> None:
    version = resolve(repository).version
    text = card_text(version) or f"# {repository.name}\n"
    front_matter, body = split_card(text)
    metadata, _ = parse_metadata(front_matter)
    changed = {name: value for name, value in {**metadata, **said}.items() if value is not None}
    head = yaml.safe_dump(changed, sort_keys=True, allow_unicode=True)
    new = f"---\n{head}---\n{body}"
    seen = version.number if version is not None else 0
    edit_card(repository=repository, text=new, title="Describe it", seen=seen, actor=actor)


def renamed(repository: Repository, body: dict[str, Any], actor: Actor) -> Repository:
    """The repository under the name that is asked for, if it is another. Raises: the errors of moving it."""
    wanted = slug_of(text_of(body, "name", repository.name), repository.name)
    if wanted in {repository.name, slug_of(repository.name, repository.name)}:
        return repository
    return move_repository(repository=repository, team=repository.team, name=wanted, actor=actor)
