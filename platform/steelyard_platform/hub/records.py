"""Our rows as the Hub's records."""

from __future__ import annotations

from typing import Any

from django.utils.html import escape

from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.hub.http import date
from steelyard_platform.repos import tree
from steelyard_platform.repos.models import Entry, Repository, Version
from steelyard_platform.repos.revisions import Snapshot

# Beyond this a client pages through the tree; a list without its files tells it to.
MAX_SIBLINGS = 10_000
_POINTER_SIZE = 134


def repository_record(repository: Repository, snapshot: Snapshot | None = None) -> dict[str, Any]:
    record: dict[str, Any] = {
        "_id": repository.pk.hex[:24],
        "id": repository.full_name,
        "author": repository.team.name,
        "private": not repository.is_public,
        "gated": repository.gate or False,
        "disabled": False,
        "createdAt": date(repository.created_at),
        "lastModified": date(repository.updated_at),
        "tags": repository.tags,
        "downloads": repository.document.downloads,
        "cardData": repository.card,
    }
    if repository.kind == RepositoryKind.MODEL:
        record["modelId"] = repository.full_name
        for key in ("library_name", "pipeline_tag"):
            if isinstance(value := repository.card.get(key), str):
                record[key] = value
    if snapshot is not None:
        record["sha"] = snapshot.commit_id
        record["usedStorage"] = snapshot.version.total_size if snapshot.version else 0
    return record


def only(record: dict[str, Any], wanted: list[str]) -> dict[str, Any]:
    """With `expand`, the fields that were asked for and those that name the repository."""
    if not wanted:
        return record
    return {key: value for key, value in record.items() if key in {*wanted, "id", "_id", "modelId"}}


def sibling_records(snapshot: Snapshot, *, with_blobs: bool) -> list[dict[str, Any]] | None:
    if snapshot.version is not None and snapshot.version.file_count > MAX_SIBLINGS:
        return None
    entries = tree.entries_at(snapshot.version).order_by("path")
    return [_sibling(entry, with_blobs=with_blobs) for entry in entries]


def _sibling(entry: Entry, *, with_blobs: bool) -> dict[str, Any]:
    record: dict[str, Any] = {"rfilename": entry.path}
    if with_blobs and entry.blob is not None:
        record |= {"size": entry.blob.size, "blobId": entry.oid}
        if entry.is_lfs:
            record["lfs"] = {
                "sha256": entry.blob.sha256,
                "size": entry.blob.size,
                "pointerSize": _POINTER_SIZE,
            }
    return record


def tree_record(item: Entry | tree.Folder, last_commit: Version | None = None) -> dict[str, Any]:
    record = _item_record(item)
    if last_commit is not None:
        record["lastCommit"] = {
            "id": last_commit.commit_id,
            "title": last_commit.title,
            "date": date(last_commit.created_at),
        }
    return record


def _item_record(item: Entry | tree.Folder) -> dict[str, Any]:
    if isinstance(item, tree.Folder):
        return {"type": "directory", "path": item.path, "oid": "0" * 40, "size": 0}
    assert item.blob is not None  # noqa: S101 - tombstones never leave `tree`
    record: dict[str, Any] = {"type": "file", "path": item.path, "size": item.blob.size, "oid": item.oid}
    if item.is_lfs:
        record["lfs"] = {"oid": item.blob.sha256, "size": item.blob.size, "pointerSize": _POINTER_SIZE}
        if item.blob.xet_id is not None:
            record["xetHash"] = item.blob.xet_id
    return record


def commit_record(version: Version, *, formatted: bool = False) -> dict[str, Any]:
    """With `formatted`, the words also as HTML; they are plain text, so that is an escaped copy."""
    record: dict[str, Any] = {
        "id": version.commit_id,
        "title": version.title,
        "message": version.message,
        "date": date(version.created_at),
        "authors": [{"user": version.author_name}],
    }
    if formatted:
        record["formatted"] = {"title": escape(version.title), "message": escape(version.message)}
    return record
