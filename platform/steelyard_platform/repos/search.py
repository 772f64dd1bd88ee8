"""What a repository is found by: a row for each, written when its name, its card or its newest version changes.

    holding(visible_repositories(actor), ["resn", "cats"])     those with a word that begins so for each of the two

PostgreSQL answers from an index over the words; SQLite looks through the rows, which a team's installation can bear.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import connection
from django.db.models import BooleanField, F, Func, Q, QuerySet, TextField, Value

from steelyard_platform.repos.models import Repository, SearchDocument
from steelyard_platform.repos.words import words_of

# Raise it when rows are to hold something else than before: a light job writes those of former editions again.
EDITION = 1


def write_document(repository: Repository, card: str = "") -> None:
    """From the repository's row, as it is now, and the text of its README.md."""
    SearchDocument.objects.update_or_create(
        repository=repository,
        defaults={
            "name": repository.full_name.lower(),
            "words": " ".join(words_of(" ".join([repository.full_name, *repository.tags, card]))),
            "task": _text(repository.card, "pipeline_tag"),
            "library": _text(repository.card, "library_name"),
            "edition": EDITION,
        },
    )


def rename_document(repository: Repository) -> None:
    """The words of the new name join those of the card, which nobody needs to read again for that."""
    document = SearchDocument.objects.filter(repository=repository).first()
    if document is None:
        return
    document.words = " ".join(words_of(f"{repository.full_name} {document.words}"))
    document.name = repository.full_name.lower()
    document.save(update_fields=["name", "words"])


def note_size(repository: Repository, size: int) -> None:
    """Of the newest version of main."""
    SearchDocument.objects.filter(repository=repository).update(size=size)


def holding(rows: QuerySet[Repository], words: Iterable[str]) -> QuerySet[Repository]:
    """Those that have, for each of these, a word that begins with it. The words are as `words_of` gives them."""
    wanted = list(words)
    if not wanted:
        return rows
    if connection.vendor == "postgresql":
        # Letters and digits alone: nothing in them could end the quotes.
        query = " & ".join(f"'{word}':*" for word in wanted)
        # A query of its own: across a join that may find nothing, the index would not be used.
        matching = SearchDocument.objects.filter(_Matches(F("words"), Value(query, output_field=TextField())))
        return rows.filter(pk__in=matching.values("pk"))
    for word in wanted:
        rows = rows.filter(Q(document__words__startswith=word) | Q(document__words__contains=f" {word}"))
    return rows


class _Matches(Func):
    """The left side is what the index `search_document_words` is over; see its migration."""

    template = "(search_words(%(expressions)s)::tsquery)"
    arg_joiner = ") @@ ("
    output_field = BooleanField()


def _text(metadata: dict[str, Any], key: str) -> str:
    value = metadata.get(key)
    return value[:100] if isinstance(value, str) else ""
