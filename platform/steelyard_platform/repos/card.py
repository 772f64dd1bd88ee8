"""A repository's card: the YAML front matter of README.md and the text below it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml
from django.db import transaction

from steelyard_platform.repos import tree
from steelyard_platform.repos.blobs import blob_bytes
from steelyard_platform.repos.licenses import KNOWN_LICENSES
from steelyard_platform.repos.models import CardTag, Repository, Version
from steelyard_platform.repos.search import write_document

CARD_PATH = "README.md"
MAX_CARD_BYTES = 1024 * 1024
MAX_METADATA_BYTES = 256 * 1024
MAX_TAG_LENGTH = 200
_FENCE = "---"
_DATASET_KEYS = (
    "annotations_creators",
    "language_creators",
    "multilinguality",
    "size_categories",
    "source_datasets",
    "task_categories",
    "task_ids",
)


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases: a few lines of them can stand for more memory than there is."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not allowed in a card")
        return super().compose_node(parent, index)


def split_card(text: str) -> tuple[str, str]:
    """(front matter, body). A text without front matter is all body."""
    lines = text.lstrip("\ufeff \t\r\n").splitlines(keepends=True)
    if not lines or lines[0].strip() != _FENCE:
        return "", text
    for index, line in enumerate(lines[1:], start=1):
        if line.strip() == _FENCE:
            return "".join(lines[1:index]), "".join(lines[index + 1 :])
    return "", text


def parse_metadata(front_matter: str) -> tuple[dict[str, Any], str | None]:
    """(metadata, fault). The fault is a sentence for the card's author, or None."""
    if len(front_matter) > MAX_METADATA_BYTES:
        return {}, f"The metadata is longer than {MAX_METADATA_BYTES // 1024} KiB."
    try:
        found = yaml.load(front_matter, Loader=_PlainLoader)  # noqa: S506 - a SafeLoader that also refuses aliases
        if found is None:
            return {}, None
        if not isinstance(found, dict):
            return {}, "The metadata between the '---' lines must be a YAML mapping."
        return _jsonable(found), None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return {}, f"The metadata between the '---' lines is not valid YAML: {error}"


def faults_of(metadata: dict[str, Any]) -> list[str]:
    """What is wrong with metadata that is YAML, in sentences for the card's author."""
    faults = []
    unknown = [name for name in _strings(metadata.get("license")) if name not in KNOWN_LICENSES]
    if unknown:
        faults.append(
            f'"license" must be one of the identifiers that the Hub knows; {unknown[0]!r} is none. For any other, '
            'write "other", and say which in "license_name" and "license_link".'
        )
    if not isinstance(metadata.get("model-index", []), list):
        faults.append('"model-index" must be a list, with an entry for each model.')
    return faults


def _jsonable(value: Any) -> Any:
    """YAML knows dates and other keys than strings; JSON does not."""
    match value:
        case dict():
            return {str(key): _jsonable(item) for key, item in value.items()}
        case list():
            return [_jsonable(item) for item in value]
        case None | bool() | int() | str():
            return value
        case float():
            return value if value == value and abs(value) != float("inf") else str(value)  # noqa: PLR0124 - NaN
        case _:
            return str(value)


def tags_of(metadata: dict[str, Any]) -> list[str]:
    """The tags that clients filter by, in the Hub's spelling: plain ones, and `key:value` for known keys."""
    return sorted({tag[:MAX_TAG_LENGTH] for tag in _tags(metadata)})


def _tags(metadata: dict[str, Any]) -> Iterator[str]:
    yield from _strings(metadata.get("tags"))
    for plain in ("library_name", "pipeline_tag"):
        yield from _strings(metadata.get(plain))
    yield from _strings(metadata.get("language"))
    for key, prefix in (("license", "license"), ("datasets", "dataset"), ("base_model", "base_model")):
        yield from (f"{prefix}:{value}" for value in _strings(metadata.get(key)))
    for key in _DATASET_KEYS:
        yield from (f"{key}:{value}" for value in _strings(metadata.get(key)))


def _strings(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [item for item in values if isinstance(item, str) and item]


def card_text(version: Version | None) -> str | None:
    """README.md at a version; None when there is none, or it is too long to be one."""
    entry = tree.entries_at(version).filter(path=CARD_PATH).first()
    if entry is None or entry.blob is None or entry.blob.size > MAX_CARD_BYTES:
        return None
    return blob_bytes(entry.blob, limit=MAX_CARD_BYTES).decode(errors="replace")


def refresh_card(repository: Repository, version: Version | None) -> None:
    """Reads the card of the newest version of main into the repository's rows, where lists can filter by it."""
    text = card_text(version) or ""
    front_matter, _ = split_card(text)
    metadata, _ = parse_metadata(front_matter)
    tags = tags_of(metadata)
    with transaction.atomic():
        repository.card, repository.tags = metadata, tags
        repository.save(update_fields=["card", "tags"])
        write_document(repository, text)
        CardTag.objects.filter(repository=repository).exclude(tag__in=tags).delete()
        CardTag.objects.bulk_create((CardTag(repository=repository, tag=tag) for tag in tags), ignore_conflicts=True)
