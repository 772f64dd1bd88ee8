"""What MLflow's clients said of registered models and their versions, for the pages."""

from __future__ import annotations

from steelyard_platform.mlflow.models import Registration, VersionNote
from steelyard_platform.repos.models import Repository, Version
from steelyard_platform.repos.notes import Note

_ORIGIN, _NO_STAGE = "MLflow", "None"


def note_on_repository(repository: Repository) -> Note | None:
    row = Registration.objects.filter(repository=repository).first()
    return _note(row.description, row.tags) if row is not None else None


def note_on_version(version: Version) -> Note | None:
    row = VersionNote.objects.filter(version=version).first()
    if row is None:
        return None
    staged = {"stage": row.stage} if row.stage != _NO_STAGE else {}
    return _note(row.description, {**staged, **row.tags})


def _note(text: str, tags: dict[str, str]) -> Note | None:
    return Note(_ORIGIN, text, tags) if text or tags else None
