"""A repository of a Hub as the source of an import: each commit of main a version, with its id, date, words and author.

The Hub's own client asks and fetches. A token goes to that Hub only if it was given for it: the one in the environment
may well be for another server.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import dropwhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelyard.handover.contents import sha256_of_file
from steelyard.handover.source import File, SourceGoneError, SourceRepository, SourceVersion
from steelyard.hub_client import hub_border
from steelyard_contracts.errors import DigestMismatchError, ForbiddenError, InvalidInputError, NotFoundError
from steelyard_contracts.names import is_commit_id
from steelyard_contracts.refs import DEFAULT_REVISION, Ref, RepositoryKind

if TYPE_CHECKING:
    from huggingface_hub import HfApi

PUBLIC_HUB = "https://huggingface.co"
_PREFIXES = {"datasets/": RepositoryKind.DATASET, "models/": RepositoryKind.MODEL}


class Hub:
    """`owner/name` or `datasets/owner/name` of one Hub."""

    def __init__(
        self,
        name: str,
        *,
        endpoint: str | None = None,
        token: str | None = None,
        newest_only: bool = False,
        api: Any = None,
    ) -> None:
        self._kind = RepositoryKind.MODEL
        for prefix, kind in _PREFIXES.items():
            if name.startswith(prefix) and name.count("/") > 1:
                self._kind, name = kind, name.removeprefix(prefix)
        owner, slash, rest = name.partition("/")
        if not slash or not rest or "/" in rest:
            raise InvalidInputError(
                f"{name!r} is no repository of a Hub; write hf:owner/name or hf:datasets/owner/name."
            )
        self._name, self._ref = name, Ref(self._kind, owner, rest)
        self._newest_only = newest_only
        self._digests: dict[str, str] = {}
        self._api = api or _api(endpoint or PUBLIC_HUB, token)

    def repositories(self) -> list[SourceRepository]:
        with hub_border():
            commits = list(self._api.list_repo_commits(self._name, repo_type=str(self._kind)))[::-1]
            if self._newest_only:
                commits = commits[-1:]
            refs = self._api.list_repo_refs(self._name, repo_type=str(self._kind))
        found = SourceRepository(ref=self._ref)
        # The Hub's first commit may hold nothing, and a version does.
        for commit in dropwhile(lambda one: self._is_empty(one.commit_id), commits):
            found.versions.append(self._version(commit))
        found.created_at = found.versions[0].created_at if found.versions else None
        known = {version.label for version in found.versions}
        for tag in refs.tags:
            if tag.target_commit in known:
                found.tags.append({"name": tag.name, "version": tag.target_commit, "message": ""})
        others = [branch.name for branch in refs.branches if branch.name != DEFAULT_REVISION]
        if others:
            found.faults.append(f"other branches than {DEFAULT_REVISION} do not come: {', '.join(sorted(others))}")
        return [found]

    def _version(self, commit: Any) -> SourceVersion:
        return SourceVersion(
            label=commit.commit_id,
            title=commit.title or "Commit",
            message=commit.message or "",
            author=", ".join(commit.authors) or self._ref.namespace,
            created_at=commit.created_at,
            commit=commit.commit_id if is_commit_id(commit.commit_id) else None,
            tree=partial(self._tree, commit.commit_id),
        )

    def _is_empty(self, revision: str) -> bool:
        with hub_border():
            return not any(True for _ in self._files(revision))

    def _tree(self, revision: str) -> Mapping[str, File]:
        with hub_border():
            return {one.path: self._file(revision, one) for one in self._files(revision)}

    def _file(self, revision: str, one: Any) -> HubFile:
        place = (self._name, str(self._kind), revision, one.path)
        return HubFile(self._api, place, one.blob_id, one.lfs.sha256 if one.lfs else "", self._digests)

    def _files(self, revision: str) -> Iterator[Any]:
        """Files alone: folders have no size."""
        items = self._api.list_repo_tree(self._name, recursive=True, revision=revision, repo_type=str(self._kind))
        return (item for item in items if hasattr(item, "blob_id"))


@dataclass(frozen=True, slots=True)
class HubFile:
    """`place`: repository, kind, revision and path. `digests`: SHA-256 by git's id, of what was fetched before."""

    api: HfApi
    place: tuple[str, str, str, str]
    git_id: str
    said: str
    digests: dict[str, str]

    @property
    def sha256(self) -> str:
        return self.said or self.digests.get(self.git_id, "")

    def fetch(self, scratch: Path) -> Path:
        """Raises: DigestMismatchError when it leads elsewhere; SourceGoneError for what the Hub does not give."""
        name, kind, revision, path = self.place
        try:
            with hub_border():
                found = self.api.hf_hub_download(name, path, repo_type=kind, revision=revision, local_dir=scratch)
        except (ForbiddenError, NotFoundError) as error:
            raise SourceGoneError(str(error)) from error
        place = Path(found)
        if not place.resolve().is_relative_to(scratch.resolve()):
            raise DigestMismatchError(f"{path} leads out of its folder.", path=path)
        if not self.said:
            self.digests[self.git_id] = sha256_of_file(place)
        return place


def _api(endpoint: str, token: str | None) -> HfApi:
    from huggingface_hub import HfApi, constants
    from huggingface_hub.utils.tqdm import disable_progress_bars

    constants.HF_HUB_DISABLE_TELEMETRY = True
    disable_progress_bars()
    return HfApi(endpoint=endpoint, token=token or False, library_name="steelyard")
