"""The NDJSON export of a dataset, as Ultralytics writes it: a head, then a picture on each line, with boxes or a class.

    {"type": "dataset", "task": "detect", "name": "digits", "class_names": {"0": "zero"}}
    {"type": "image", "file": "1.jpg", "url": "https://…", "split": "train", "annotations": {"boxes": [[0, …]]}}

A picture is taken from beside the file, if it lies there, and else fetched from its address.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from steelyard.handover.download import save
from steelyard.handover.naming import NOBODY
from steelyard.handover.plain import changed_at, slug, user_name
from steelyard.handover.source import File, SourceRepository, SourceVersion
from steelyard.transport import Transport
from steelyard_contracts.digests import sha256_of
from steelyard_contracts.errors import InvalidInputError, NotFoundError
from steelyard_contracts.refs import Ref, RepositoryKind


@dataclass(frozen=True, slots=True)
class _Picture:
    """A picture of an NDJSON export. Its address may be a signed one that is valid for a while only."""

    url: str
    beside: Path
    sha256: str = ""

    def fetch(self, scratch: Path) -> Path:
        if self.beside.is_file():
            return self.beside
        if not self.url:
            raise NotFoundError(f"{self.beside} is missing, and the export names no address for it.")
        target = scratch / f"{sha256_of(self.url.encode())[:16]}-{self.beside.name[-100:]}"
        with closing(Transport("", None)) as transport:
            save(transport, self.url, target)
        return target


@dataclass(frozen=True, slots=True)
class _Text:
    """A small file that is made of the export's lines."""

    content: str

    @property
    def sha256(self) -> str:
        return sha256_of(self.content.encode())

    def fetch(self, scratch: Path) -> Path:
        target = scratch / f"{sha256_of(self.content.encode())[:16]}.txt"
        target.write_text(self.content, encoding="utf-8")
        return target


def dataset_of(path: Path) -> SourceRepository:
    head, pictures = _read_ndjson(path)
    name = str(head.get("name") or path.stem)
    when = _moment(head.get("updated_at")) or _moment(head.get("created_at")) or changed_at(path)
    version = SourceVersion(
        label="1",
        title=f"Import {name}",
        author=user_name(),
        created_at=when,
        tree=partial(_yolo_tree, path, head, pictures),
        message=str(head.get("description") or ""),
    )
    ref = Ref(RepositoryKind.DATASET, NOBODY, slug(name))
    return SourceRepository(ref=ref, versions=[version], created_at=_moment(head.get("created_at")) or when)


def _read_ndjson(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    head: dict[str, Any] = {}
    pictures: list[dict[str, Any]] = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                raise InvalidInputError(f"{path}, line {number}, is no JSON.") from error
            if not isinstance(record, dict):
                raise InvalidInputError(f"{path}, line {number}, is no JSON object.")
            if record.get("type") == "dataset":
                head = record
            elif record.get("file"):
                pictures.append(record)
    if not head:
        raise InvalidInputError(f"{path} has no line of the type 'dataset', so it is no export of a dataset.")
    return head, pictures


def _yolo_tree(path: Path, head: Mapping[str, Any], pictures: list[dict[str, Any]]) -> dict[str, File]:
    """In the layout that YOLO trains from; of classes, a folder for each. Raises: InvalidInputError."""
    classes = {int(key): str(name) for key, name in dict(head.get("class_names") or {}).items()}
    task = str(head.get("task") or "detect")
    if task not in {"detect", "classify"}:
        raise InvalidInputError(f"{path} is an export for {task}; detect (boxes) and classify can be imported.")
    files: dict[str, File] = {}
    for record in pictures:
        name, split = PurePosixPath(str(record["file"])).name, str(record.get("split") or "train")
        picture = _Picture(str(record.get("url") or ""), _beside(path.parent, str(record["file"])))
        given = record.get("annotations") or {}
        if task == "classify":
            label = _first(given.get("classification"))
            files[f"{split}/{classes.get(label, str(label))}/{name}"] = picture
        else:
            files[f"images/{split}/{name}"] = picture
            lines = "".join(f"{' '.join(map(_plain, row))}\n" for row in given.get("boxes") or [])
            label_file = f"labels/{split}/{PurePosixPath(name).stem}.txt"
            files[label_file] = _Text(lines)
    if task == "detect":
        splits = {one.split("/")[1] for one in files if one.startswith("images/")}
        about = {split: f"images/{split}" for split in sorted(splits)} | {"names": classes}
        files["data.yaml"] = _Text(yaml.safe_dump(about, sort_keys=False))
    return files


def _beside(folder: Path, name: str) -> Path:
    """Where the picture may lie: never outside of the export's folder, whatever its line says."""
    place = folder / name
    return place if place.resolve().is_relative_to(folder.resolve()) else folder / PurePosixPath(name).name


def _first(value: Any) -> int:
    values = value if isinstance(value, list) else [value]
    return int(values[0]) if values and values[0] is not None else -1


def _plain(value: Any) -> str:
    return f"{float(value):.10g}"


def _moment(text: Any) -> datetime | None:
    if isinstance(text, int | float):
        return datetime.fromtimestamp(text / 1000 if text > 10**11 else text, UTC)
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
