"""A card's metadata as chips: each says one thing, and most lead to where the others are that say the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.repos.models import Repository
from steelyard_platform.repos.queries import visible_repositories

_MOST = 60
_LONGEST = 80
# What a card calls it, what people call it, and what the search does.
_FIELDS = (
    ("pipeline_tag", "task", "task"),
    ("task_categories", "task", "task"),
    ("library_name", "library", "library"),
    ("license", "licence", "license"),
    ("language", "language", "language"),
    ("tags", "", "tag"),
)
_REPOSITORIES = (("base_model", RepositoryKind.MODEL), ("datasets", RepositoryKind.DATASET))


@dataclass(frozen=True, slots=True)
class Chip:
    """`address` is empty for what is not here, or not for this reader: nobody can tell which."""

    label: str
    text: str
    address: str = ""


def chips_of(repository: Repository, actor: Actor) -> list[Chip]:
    """Two queries at most, however many there are."""
    said = list(islice(_said(repository), _MOST))
    return said + [chip for key, kind in _REPOSITORIES for chip in _others(repository, key, kind, actor)]


def _said(repository: Repository) -> Iterator[Chip]:
    base = f"/{RepositoryKind(repository.kind).plural}"
    for key, label, condition in _FIELDS:
        for value in _texts(repository.card.get(key)):
            yield Chip(label, value[:_LONGEST], f"{base}?{urlencode({condition: value})}")
    if isinstance(name := repository.card.get("license_name"), str) and name:
        yield Chip("licence", name[:_LONGEST])


def _others(repository: Repository, key: str, kind: RepositoryKind, actor: Actor) -> list[Chip]:
    names = _texts(repository.card.get(key))[:_MOST]
    if not names:
        return []
    relation = repository.card.get("base_model_relation")
    label = relation if key == "base_model" and isinstance(relation, str) else _LABELS[key]
    chips = {name: Chip(label[:_LONGEST], name[:_LONGEST]) for name in names}
    wanted = {name.partition("@")[0].lower() for name in names}
    here = visible_repositories(actor).filter(kind=kind, document__name__in=wanted)
    pages = {one.full_name.lower(): one.page for one in here}
    return [replace(chip, address=pages.get(name.partition("@")[0].lower(), "")) for name, chip in chips.items()]


_LABELS = {"base_model": "made from", "datasets": "dataset"}


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return list(dict.fromkeys(item for item in values if isinstance(item, str) and item))
