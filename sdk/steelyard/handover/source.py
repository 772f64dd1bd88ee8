"""What a source of an import says of itself: repositories, with versions, names, measures and runs.

A source is read lazily: its repositories are known before any file moves, which is what `--dry-run` shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from steelyard_contracts.errors import InvalidInputError, NotFoundError
from steelyard_contracts.refs import DEFAULT_REVISION, Ref

_LEFT_OUT = frozenset({".git", ".cache", "__pycache__", ".DS_Store"})


class SourceGoneError(NotFoundError):
    """What the source names, and has no more: the rest is brought all the same."""


class File(Protocol):
    """One file of a version. `sha256` is empty where only the content tells."""

    @property
    def sha256(self) -> str: ...

    def fetch(self, scratch: Path) -> Path:
        """Where its content is on this disk; what has to be fetched goes into `scratch`."""
        ...


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file that is here. `within`: the folder that no link may lead out of, where somebody else has written it."""

    path: Path
    sha256: str = ""
    within: Path | None = None

    def fetch(self, scratch: Path) -> Path:  # noqa: ARG002 - the protocol's
        """Raises: InvalidInputError for a link that leads elsewhere."""
        if self.within is not None and not self.path.resolve().is_relative_to(self.within.resolve()):
            raise InvalidInputError(f"{self.path} leads out of {self.within} by a link; nothing outside is imported.")
        return self.path


Tree = Callable[[], Mapping[str, File]]


@dataclass(slots=True)
class SourceVersion:
    """A version as the source has it.

    `label`: what the source calls it; `number`: the number that it must have here, or the next one; `tree`: all of its
    files, by path; `run`: the key of the run that saved it; `made_by`: project and name of the run that it was
    registered from, where that is another project's.
    """

    label: str
    title: str
    author: str
    created_at: datetime
    tree: Tree
    branch: str = DEFAULT_REVISION
    message: str = ""
    number: int | None = None
    commit: str | None = None
    files: int | None = None
    size: int | None = None
    run: str | None = None
    made_by: tuple[str, str] | None = None
    registered: Registered | None = None


@dataclass(slots=True)
class Registered:
    """What MLflow's users say of a registered model or of one of its versions."""

    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    stage: str = ""

    def __bool__(self) -> bool:
        return bool(self.description or self.tags or self.stage)


@dataclass(slots=True)
class LoggedModel:
    """A model that MLflow's clients have logged; `run`: the key of the run that logged it.

    `outputs`: (run's key, step) of each run that named it as its output; `metrics`: what was measured of it, as MLflow
    says it, with the key of the run that did.
    """

    name: str
    run: str = ""
    created_at: datetime | None = None
    outputs: list[tuple[str, int]] = field(default_factory=list)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    is_failed: bool = False  # its upload broke off there
    model_type: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    files: Tree = dict


@dataclass(frozen=True, slots=True)
class Point:
    """A value of a metric. `at`: milliseconds since 1970, when the source knows it."""

    name: str
    step: int
    value: float
    at: int | None = None


@dataclass(slots=True)
class SourceRun:
    """A training that was done elsewhere. `lines`: what it printed; `author`: whose it was.

    `key`: what the source knows it by, where names can be given twice; `parent`: that of the run it is a part of.
    `registered`: versions of other repositories that were made of it, by their labels there; `inputs`: what MLflow's
    clients said that it read, in their words.
    """

    name: str
    state: str  # succeeded, failed or cancelled
    started_at: datetime | None
    finished_at: datetime | None
    config: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    git: dict[str, Any] | None = None
    source: str = "import"
    error: str = ""
    author: str | None = None
    key: str = ""
    parent: str = ""
    registered: list[tuple[SourceRepository, str]] = field(default_factory=list)
    inputs: list[dict[str, Any]] = field(default_factory=list)
    result: dict[str, Any] = field(default_factory=dict)
    datasets: list[str] = field(default_factory=list)
    base: str | None = None
    files: Tree = dict  # what it has logged besides: MLflow's artifacts
    points: Callable[[], Iterator[Point]] = lambda: iter(())
    lines: Callable[[], Iterator[str]] = lambda: iter(())


@dataclass(slots=True)
class SourceRepository:
    """A repository as the source has it; records are those of `steelyard_contracts.handover`.

    `lineage_follows`: its edges are in `edges`, whatever the cards say; `faults`: what cannot come, in sentences.
    """

    ref: Ref
    versions: list[SourceVersion] = field(default_factory=list)
    public: bool | None = None
    created_at: datetime | None = None
    branches: list[dict[str, Any]] = field(default_factory=list)
    tags: list[dict[str, Any]] = field(default_factory=list)
    aliases: list[dict[str, Any]] = field(default_factory=list)
    moves: list[dict[str, Any]] = field(default_factory=list)
    gates: list[dict[str, Any]] = field(default_factory=list)
    edges: Callable[[], Iterator[dict[str, Any]]] = lambda: iter(())
    evaluations: Callable[[], Iterator[dict[str, Any]]] = lambda: iter(())
    lineage_follows: bool = False
    runs: list[SourceRun] = field(default_factory=list)
    registered: Registered | None = None
    experiment_tags: dict[str, str] = field(default_factory=dict)
    logged: list[LoggedModel] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


class Source(Protocol):
    """Where an import comes from."""

    def repositories(self) -> list[SourceRepository]:
        """Raises: InvalidInputError, UnavailableError, NotFoundError, in a sentence."""
        ...


def moment(text: Any) -> datetime:
    """A date as it is written, in UTC where it says nothing else. Raises: InvalidInputError."""
    try:
        at = datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"{text!r} is no date.") from error
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def folder_tree(folder: Path, *, left_out: frozenset[str] = frozenset()) -> Mapping[str, File]:
    """Every file below a folder, by its path; what tools leave in folders is left out."""
    never = _LEFT_OUT | left_out
    found = ((path.relative_to(folder), path) for path in sorted(folder.rglob("*")) if path.is_file())
    return {inside.as_posix(): LocalFile(path) for inside, path in found if not never.intersection(inside.parts)}
