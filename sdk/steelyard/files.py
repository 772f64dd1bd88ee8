"""Files travel by the Hub's protocol, through the same `huggingface_hub` client that everybody uses."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelyard.transport import CHUNK
from steelyard_contracts.errors import (
    DigestMismatchError,
    EntryNotFoundError,
    ForbiddenError,
    InvalidInputError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    SteelyardError,
    UnavailableError,
)
from steelyard_contracts.refs import DEFAULT_REVISION, Ref

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi

_IGNORED = [".git/**", "**/.git/**", ".cache/**", "**/__pycache__/**", ".DS_Store", "**/.DS_Store"]


class Files:
    """Push and pull, for one server and token. `quiet` shows no progress bars."""

    def __init__(self, url: str, token: str, *, quiet: bool = False) -> None:
        self._url = url
        self._token = token
        self._quiet = quiet

    def push(self, source: Path, ref: Ref, *, message: str = "", path_in_repository: str = "") -> str:
        """Uploads a file or a folder as one commit and returns its id. Sends only what the server lacks.

        Raises: InvalidInputError for a source that is not there, and the server's errors.
        """
        if not source.exists():
            raise InvalidInputError(f"{source} does not exist.", source=str(source))
        common: dict[str, Any] = {
            "repo_id": ref.repository,
            "repo_type": str(ref.kind),
            "revision": ref.revision_or_default,
            "commit_message": message or f"Push {source.name}",
        }
        api = self._api()
        with _border():
            if source.is_dir():
                # One push is one version. The client's own `upload_folder` cuts larger folders into several commits.
                done = api.create_commit(operations=_additions(source, path_in_repository), **common)
            else:
                done = api.upload_file(path_or_fileobj=source, path_in_repo=path_in_repository or source.name, **common)
        return str(done.oid)

    def pull(
        self,
        ref: Ref,
        *,
        target: Path | None = None,
        patterns: list[str] | None = None,
        cache: Path | None = None,
        at_once: int = 8,
    ) -> Path:
        """Downloads a version into `target`, or into the client's cache; every file is checked against its digest.

        Raises: the server's errors.
        """
        api = self._api()
        with _border():
            folder = api.snapshot_download(
                repo_id=ref.repository,
                repo_type=str(ref.kind),
                revision=ref.revision or DEFAULT_REVISION,
                local_dir=target,
                cache_dir=cache,
                allow_patterns=patterns,
                max_workers=at_once,
            )
            self._verify(api, ref, Path(str(folder)))
        return Path(str(folder))

    def _verify(self, api: HfApi, ref: Ref, folder: Path) -> None:
        """Holds what lies on disk against the version's digests; the client itself compares sizes only.

        Raises: DigestMismatchError; the damaged file is removed, so that pulling again fetches it.
        """
        from huggingface_hub.hf_api import RepoFile

        items = api.list_repo_tree(
            ref.repository, recursive=True, revision=ref.revision_or_default, repo_type=str(ref.kind)
        )
        for item in items:
            path = folder / item.path
            if not isinstance(item, RepoFile) or not path.exists():
                continue
            found = _digest(path, "sha256") if item.lfs else _digest(path, "sha1", b"blob %d\0" % path.stat().st_size)
            expected = item.lfs.sha256 if item.lfs else item.blob_id
            if found != expected:
                path.resolve().unlink()
                path.unlink(missing_ok=True)
                raise DigestMismatchError(f"{item.path} was damaged on its way or on disk; pull again.", path=item.path)

    def _api(self) -> HfApi:
        from huggingface_hub import HfApi, constants
        from huggingface_hub.utils.tqdm import disable_progress_bars

        # The client reads its environment when it is first imported, which may be long ago (transformers imports it),
        # so it is told here.
        constants.HF_HUB_DISABLE_TELEMETRY = True
        # It would advise, at every larger folder, to use another of its commands.
        logging.getLogger("huggingface_hub.hf_api").setLevel(logging.ERROR)

        if self._quiet:
            disable_progress_bars()
        return HfApi(endpoint=self._url, token=self._token, library_name="steelyard")


def _additions(folder: Path, path_in_repository: str) -> list[CommitOperationAdd]:
    from huggingface_hub import CommitOperationAdd
    from huggingface_hub.utils import filter_repo_objects  # type: ignore[attr-defined]  # public, but not marked so

    prefix = f"{path_in_repository.strip('/')}/" if path_in_repository else ""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    kept = filter_repo_objects(files, ignore_patterns=_IGNORED)
    return [CommitOperationAdd(prefix + path, folder / path) for path in kept]


class _border:  # noqa: N801 - used as a statement
    """The Hub client's errors become ours here, and nowhere else."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, SteelyardError):
            ours = _ours(error)
            if ours is not error:
                raise ours from error


def _digest(path: Path, algorithm: str, head: bytes = b"") -> str:
    """Of a file, streamed; git's blob ids begin with a head that names the size."""
    digest = hashlib.new(algorithm, head, usedforsecurity=algorithm != "sha1")
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _ours(error: Exception) -> Exception:
    import httpx2
    from huggingface_hub import errors

    table: list[tuple[type[Exception], type[SteelyardError]]] = [
        (errors.RevisionNotFoundError, RevisionNotFoundError),
        (errors.EntryNotFoundError, EntryNotFoundError),
        (errors.RepositoryNotFoundError, RepositoryNotFoundError),
        (errors.BadRequestError, InvalidInputError),
        (errors.HFValidationError, InvalidInputError),
        (errors.LocalEntryNotFoundError, UnavailableError),
        (httpx2.TransportError, UnavailableError),
    ]
    for theirs, ours in table:
        if isinstance(error, theirs):
            return ours(_sentence(error))
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        return (ForbiddenError if status in {401, 403} else SteelyardError)(_sentence(error))
    return error


def _sentence(error: Exception) -> str:
    """The server's own sentence where there is one."""
    response = getattr(error, "response", None)
    said = response.headers.get("X-Error-Message") if response is not None else None
    return str(said or error)
