"""The Hub's own client, for files that the fast path leaves to it; its errors become ours here and nowhere else."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from steelyard.commits import Large
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
from steelyard_contracts.refs import Ref

if TYPE_CHECKING:
    from huggingface_hub import HfApi


class HubClient:
    """`huggingface_hub` for one server and token; imported when it is first needed, because that takes a while."""

    def __init__(self, url: str, token: str | None, *, quiet: bool) -> None:
        self._url = url
        self._token = token
        self._quiet = quiet

    def upload(self, ref: Ref, files: Mapping[str, Path]) -> dict[str, Large]:
        """Sends large files without committing them. Raises: the server's errors."""
        with hub_border():
            from huggingface_hub import CommitOperationAdd

            additions = [CommitOperationAdd(path, file) for path, file in files.items()]
            self._api().preupload_lfs_files(
                ref.repository,
                additions,
                repo_type=str(ref.kind),
                revision=ref.revision_or_default,
                free_memory=False,
            )
        found = ((one.path_in_repo, one.upload_info) for one in additions)
        return {path: Large(info.sha256.hex(), info.size) for path, info in found}

    def download(
        self,
        ref: Ref,
        *,
        target: Path | None,
        patterns: list[str] | None,
        cache: Path | None = None,
        at_once: int,
    ) -> Path:
        """A version's files, each checked against its digest. Raises: the server's errors."""
        with hub_border():
            api = self._api()
            folder = api.snapshot_download(
                repo_id=ref.repository,
                repo_type=str(ref.kind),
                revision=ref.revision_or_default,
                local_dir=target,
                cache_dir=cache,
                allow_patterns=patterns,
                max_workers=at_once,
            )
            self._verify(api, ref, Path(str(folder)), patterns)
        return Path(str(folder))

    def _verify(self, api: HfApi, ref: Ref, folder: Path, patterns: list[str] | None) -> None:
        """Holds what lies on disk against the version's digests; the client itself compares sizes only.

        Raises: DigestMismatchError; the damaged file is removed, so that pulling again fetches it.
        """
        from huggingface_hub.hf_api import RepoFile
        from huggingface_hub.utils._paths import filter_repo_objects

        items = api.list_repo_tree(
            ref.repository, recursive=True, revision=ref.revision_or_default, repo_type=str(ref.kind)
        )
        files = (item for item in items if isinstance(item, RepoFile))
        for item in filter_repo_objects(files, allow_patterns=patterns, key=lambda item: item.path):
            path = folder / item.path
            if not path.exists():
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


class hub_border:  # noqa: N801 - used as a statement
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
        (errors.GatedRepoError, ForbiddenError),
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
        by_status = {401: ForbiddenError, 403: ForbiddenError, 422: InvalidInputError}
        return by_status.get(error.response.status_code, SteelyardError)(_sentence(error))
    return error


def _sentence(error: Exception) -> str:
    """The server's own sentence where there is one."""
    response = getattr(error, "response", None)
    headers = response.headers if response is not None else {}
    return str(headers.get("X-Steelyard-Message") or headers.get("X-Error-Message") or error)
