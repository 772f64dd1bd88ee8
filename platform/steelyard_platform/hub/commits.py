"""Preupload and commit: how files come in. Large ones went through `lfs` before."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from django.http import HttpRequest, HttpResponseBase, JsonResponse

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.names import check_file_path
from steelyard_contracts.refs import DEFAULT_REVISION, RepositoryKind
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.accounts.permissions import Action
from steelyard_platform.hub.http import flag, hub_view, json_body, page_url
from steelyard_platform.repos import commits, patterns, tree
from steelyard_platform.repos.blobs import Pack, blob_bytes, known_blobs
from steelyard_platform.repos.card import CARD_PATH, refresh_card
from steelyard_platform.repos.incoming import accept_large, read_commit
from steelyard_platform.repos.models import Repository, Version
from steelyard_platform.repos.proposals import PREFIX, demand_commit, propose, sending_team
from steelyard_platform.repos.queries import find_repository
from steelyard_platform.repos.revisions import find_branch, resolve, root_id, tip_of

_log = logging.getLogger(__name__)
Rules = TypeVar("Rules", bound=Callable[[str], bool | None])
# Files up to this size travel inside the commit and share one stored object; text may be larger.
REGULAR_BYTES = 256 * 1024
REGULAR_TEXT_BYTES = 5 * 1024 * 1024
_TEXT_SUFFIXES = (
    ".md",
    ".txt",
    ".json",
    ".yaml",
    ".yml",
    ".py",
    ".csv",
    ".jinja",
    ".toml",
    ".cfg",
    ".gitattributes",
)
_MAX_PREUPLOAD = 10_000


@hub_view("POST")
def preupload(request: HttpRequest, kind: RepositoryKind, namespace: str, name: str, revision: str) -> HttpResponseBase:
    """Which way each file should come, and what is at its path now."""
    repository = find_repository(api_actor(request), kind, f"{namespace}/{name}", action_for(request, revision))
    body = json_body(request)
    files = body.get("files")
    if not isinstance(files, list) or len(files) > _MAX_PREUPLOAD:
        raise InvalidInputError(f"Send 'files', a list of at most {_MAX_PREUPLOAD}.", field="files")
    asked = [(str(file.get("path")), int(file.get("size") or 0)) for file in files if isinstance(file, dict)]
    for path, _ in asked:
        check_file_path(path)
    version = resolve(repository, revision).version
    there = tree.entries_for_paths(version, [path for path, _ in asked])
    # Clients do not send what they see here; what is damaged in the store is wanted again.
    sound = known_blobs(entry.blob_id for entry in there.values() if entry.blob_id)
    sent = body.get("gitIgnore")
    if isinstance(sent, str):
        is_ignored = patterns.is_ignored(sent.splitlines())
    else:
        is_ignored = _own_rules(patterns.is_ignored, version, patterns.IGNORE_PATH)
    is_large = _own_rules(patterns.is_large, version, patterns.ATTRIBUTES_PATH)
    return JsonResponse(
        {
            "files": [
                {
                    "path": path,
                    "uploadMode": "regular" if is_regular(path, size, is_large=is_large(path)) else "lfs",
                    "shouldIgnore": is_ignored(path),
                    "oid": there[path].etag if path in there and there[path].blob_id in sound else None,
                }
                for path, size in asked
            ]
        }
    )


def is_regular(path: str, size: int, *, is_large: bool | None = None) -> bool:
    """`is_large` is what the repository's own .gitattributes say; what is too long for a commit is large anyway."""
    if is_large is None:
        is_large = path.lower().endswith(patterns.LARGE_SUFFIXES)
    if size and is_large:
        return False
    return size <= (REGULAR_TEXT_BYTES if path.lower().endswith(_TEXT_SUFFIXES) else REGULAR_BYTES)


def _own_rules(read: Callable[[list[str]], Rules], version: Version | None, path: str) -> Rules:
    """What the repository's own list says. One that cannot be read says nothing, or nobody could push a better one."""
    entry = tree.entries_for_paths(version, [path]).get(path)
    if entry is None or entry.blob is None or entry.blob.size > patterns.MAX_BYTES:
        return read([])
    text = blob_bytes(entry.blob, limit=patterns.MAX_BYTES).decode(errors="replace")
    try:
        return read(text.splitlines())
    except InvalidInputError:
        return read([])


@hub_view("POST")
def commit(request: HttpRequest, kind: RepositoryKind, namespace: str, name: str, revision: str) -> HttpResponseBase:
    """One commit, whole or not at all. The body is NDJSON, read line by line."""
    actor = api_actor(request)
    repository = find_repository(actor, kind, f"{namespace}/{name}", action_for(request, revision))
    branch_name, proposing = revision.removeprefix("refs/heads/"), flag(request, "create_pr")
    if not proposing:
        demand_commit(actor, repository, branch_name)
    tip = tip_of(branch) if (branch := find_branch(repository, branch_name)) else None
    with Pack() as pack:
        incoming = read_commit(request, pack)
        commits.check_operations(incoming.operations)
        accept_large(repository, incoming, sending_team(actor, repository))
        pack.store(repository.team)
    header = incoming.header
    message = commits.Message(str(header.get("summary") or ""), str(header.get("description") or ""))
    if proposing:
        proposal, made = propose(
            repository=repository, base=revision, operations=incoming.operations, message=message, actor=actor
        )
        address = f"{page_url(request, repository)}/discussions/{proposal.number}"
        return _committed(request, repository, made or tip, pullRequestUrl=address)
    version = commits.commit(
        repository=repository,
        branch_name=branch_name,
        operations=incoming.operations,
        message=message,
        actor=actor,
        parent=str(header.get("parentCommit") or "") or None,
        seen=tip.number if tip else 0,
    )
    if version is not None and branch_name == DEFAULT_REVISION and _touches_card(incoming.operations):
        _refresh_card(repository, version)
    return _committed(request, repository, version)


def action_for(request: HttpRequest, revision: str) -> Action:
    """What a request that sends files does. Whose a proposal is, is asked for when it is committed to."""
    return Action.PROPOSE if flag(request, "create_pr") or revision.startswith(PREFIX) else Action.WRITE


def _committed(request: HttpRequest, repository: Repository, version: Version | None, **more: str) -> HttpResponseBase:
    commit_id = version.commit_id if version else root_id(repository)
    address = f"{page_url(request, repository)}/commit/{commit_id}"
    return JsonResponse({"success": True, "commitOid": commit_id, "commitUrl": address, "hookOutput": "", **more})


def _refresh_card(repository: Repository, version: Version) -> None:
    """The commit is made: whatever is wrong with the card must not make it look as if it were not."""
    try:
        refresh_card(repository, version)
    except Exception:  # noqa: BLE001 - see above
        _log.exception("the card of %s@%s could not be read", repository.full_name, version.label)


def _touches_card(operations: list[commits.Operation]) -> bool:
    return any(operation.path == CARD_PATH for operation in operations)
