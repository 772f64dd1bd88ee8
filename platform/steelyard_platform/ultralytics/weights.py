"""The weights of a run: which version holds them, how they become one, and who may start from them.

While a run trains, what it uploads is a version of its own branch, `runs/<name>`. When it ends well, the file that it
names is a version of `main`, beside a card and the data of its plots. `ul://team/project/model` is the newest version
of the run called so, or else what the name means as a revision: `v3`, an alias, a tag, a branch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import QuerySet

from steelyard_contracts.errors import AlreadyExistsError, EntryNotFoundError, NotFoundError, RevisionNotFoundError
from steelyard_contracts.refs import DEFAULT_REVISION, RepositoryKind
from steelyard_contracts.tracking import plain_json
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.jobs import tracking
from steelyard_platform.jobs.models import Job
from steelyard_platform.repos import commits, tree
from steelyard_platform.repos.blobs import Pack, read_blob
from steelyard_platform.repos.card import CARD_PATH, refresh_card
from steelyard_platform.repos.models import Blob, Entry, Repository, Version
from steelyard_platform.repos.queries import find_repository
from steelyard_platform.repos.revisions import find_branch, resolve
from steelyard_platform.repos.services import create_branch
from steelyard_platform.ultralytics.cards import card_for

SUFFIX = ".pt"
PLOTS = "plots.json"
_FIRST_CHOICE = "best.pt"
_LARGEST_PLOTS = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Weights:
    """A version of a project, and the file in it that this client can load."""

    repository: Repository
    version: Version
    entry: Entry

    @property
    def file_name(self) -> str:
        """What the client will call its copy. It keeps what it has under a name, so each version has one of its own."""
        return f"{self.repository.name}-{self.version.label}{SUFFIX}"

    @property
    def size(self) -> int:
        return self.entry.blob.size if self.entry.blob is not None else 0


def find_weights(project: str, model: str, actor: Actor) -> Weights:
    """Raises: RepositoryNotFoundError, RevisionNotFoundError, GatedError; EntryNotFoundError without such a file."""
    repository = find_repository(actor, RepositoryKind.MODEL, project)
    version = newest_of(repository, model) or _at(repository, model)
    version.repository = repository
    return Weights(repository, version, entry_of(version))


def newest_of(repository: Repository, name: str) -> Version | None:
    """The newest version that the run of this name has saved."""
    return versions_of(repository).filter(job__in=_runs_called(repository, name)).order_by("-number").first()


def _runs_called(repository: Repository, name: str) -> QuerySet[Job, Any]:
    return Job.objects.filter(run__project=repository, run__name=name).values("pk")


def versions_of(repository: Repository) -> QuerySet[Version]:
    return Version.objects.select_related("branch").filter(repository=repository)


def _at(repository: Repository, revision: str) -> Version:
    try:
        version = resolve(repository, revision).version
    except RevisionNotFoundError as error:
        raise RevisionNotFoundError(
            f"{repository.full_name} has no run {revision!r} that saved weights, and no version or alias of that name.",
            revision=revision,
        ) from error
    if version is None:
        raise RevisionNotFoundError(f"{repository.full_name} is empty; no run has saved weights to it yet.")
    return version


def entry_of(version: Version) -> Entry:
    """Its one `.pt`, or `best.pt` of several. Raises: EntryNotFoundError."""
    found = list(tree.entries_at(version).filter(path__endswith=SUFFIX).order_by("path")[:20])
    chosen = next((entry for entry in found if entry.path.rpartition("/")[2] == _FIRST_CHOICE), None)
    if chosen is None and len(found) == 1:
        chosen = found[0]
    if chosen is None:
        what = "no .pt file" if not found else f"several .pt files and none called {_FIRST_CHOICE}"
        raise EntryNotFoundError(f"{version.repository.full_name}@{version.label} has {what} to start from.")
    return chosen


def was_saved_by_torch(checkpoint: Version) -> bool:
    """By the first bytes of its weights: a zip, or a bare pickle of older days. A page of a proxy is neither."""
    blob = entry_of(checkpoint).blob
    return blob is not None and b"".join(read_blob(blob, 0, 4)).startswith((b"PK\x03\x04", b"\x80"))


# --- from the client -----------------------------------------------------------------------------


def branch_of(run: Job) -> str:
    return f"runs/{run.run.name}"


def twin_branches_of(versions: Iterable[Version]) -> list[str]:
    """Where a conversion wrote what these hold as safetensors, if it did."""
    return [f"{version.label}-safetensors" for version in versions]


def save_checkpoint(run: Job, repository: Repository, path: str, blob: Blob, actor: Actor) -> Version:
    """The file as a version of the run's own branch. The same file again is the same version."""
    branch = branch_of(run)
    try:
        if find_branch(repository, branch) is None:
            create_branch(repository=repository, name=branch, start=None, actor=actor, sees_base=False)
    except AlreadyExistsError:
        pass  # another upload of the run was quicker by a moment
    operations: list[commits.Operation] = [commits.AddFile(path, blob.sha256, is_lfs=True)]
    return _commit(run, repository, branch, operations, f"{path} of {run.run.name}", actor)


def save_result(run: Job, checkpoint: Version, data: Mapping[str, Any], actor: Actor) -> Version:
    """What the run ended with as a version of main: the weights, a card where there is none, its plots' data."""
    repository = checkpoint.repository
    of_the_run = versions_of(repository).filter(job=run.pk, branch__name=DEFAULT_REVISION)
    if (saved := of_the_run.filter(number__gt=checkpoint.number).first()) is not None:
        saved.repository = repository
        return saved  # of an earlier delivery, whose answer was lost
    entry = entry_of(checkpoint)
    assert entry.blob is not None  # noqa: S101 - what a version shows has content
    operations: list[commits.Operation] = [commits.AddFile(entry.path, entry.blob.sha256, is_lfs=True)]
    with Pack() as pack:
        for path, content in _beside(run, repository, data).items():
            operations.append(commits.AddFile(path, pack.add(content), is_lfs=False))
        pack.store(repository.team)
    version = _commit(run, repository, DEFAULT_REVISION, operations, f"{entry.path} of {run.run.name}", actor)
    if any(operation.path == CARD_PATH for operation in operations):
        refresh_card(repository, version)
    return version


def _beside(run: Job, repository: Repository, data: Mapping[str, Any]) -> dict[str, bytes]:
    files = {}
    plots = json.dumps(plain_json(data.get("plots") or []), separators=(",", ":")).encode()
    if len(plots) <= _LARGEST_PLOTS:
        files[PLOTS] = plots
    newest = resolve(repository).version
    if not tree.entries_at(newest).filter(path=CARD_PATH).exists():
        files[CARD_PATH] = card_for(run, data).encode()
    return files


def _commit(
    run: Job, repository: Repository, branch: str, operations: list[commits.Operation], title: str, actor: Actor
) -> Version:
    """A version that is known to be the run's from its first moment on, with its lineage."""
    version = commits.commit(
        repository=repository,
        branch_name=branch,
        operations=operations,
        message=commits.Message(title),
        actor=replace(actor, subject=f"job:{run.pk}"),
    )
    if version is None:
        raise NotFoundError(f"{repository.full_name} has no version of {run.run.name}.")
    version.repository = repository
    tracking.save_version(run=run, version=version, actor=actor)
    return version
