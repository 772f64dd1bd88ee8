"""What people said of repositories and versions elsewhere than in a card: kept by an app above, shown on pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from steelyard_platform.repos.models import Repository, Version


@dataclass(frozen=True, slots=True)
class Note:
    """`origin`: whose words these are, such as MLflow."""

    origin: str
    text: str = ""
    tags: dict[str, str] = field(default_factory=dict)


OfRepository = Callable[[Repository], Note | None]
OfVersion = Callable[[Version], Note | None]
_writers: list[tuple[OfRepository, OfVersion]] = []


def write_notes_with(of_repository: OfRepository, of_version: OfVersion) -> None:
    _writers.append((of_repository, of_version))


def notes_on_repository(repository: Repository) -> list[Note]:
    return [note for write, _ in _writers if (note := write(repository)) is not None]


def notes_on_version(version: Version) -> list[Note]:
    return [note for _, write in _writers if (note := write(version)) is not None]
