"""Repositories of a server into a plain folder: `layout` says what is where.

    export(client, [ref, …], Path("handover"), say=print)

An export goes on where it broke off: a version whose digests are there is whole and is not fetched again. Records are
written anew each time, each file in one step.
"""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from steelyard.client import Client
from steelyard.handover.contents import Contents
from steelyard.handover.fetching import fetch_version
from steelyard.handover.layout import Home, in_milliseconds, prepare, write_json, write_records, written
from steelyard.handover.mlflow_writing import MLflowWriter
from steelyard.handover.readme import README
from steelyard.handover.run_files import RunWriter
from steelyard.records import Repository
from steelyard_contracts.errors import BeingScannedError, ForbiddenError, QuarantinedError
from steelyard_contracts.refs import DEFAULT_REVISION, Ref, RepositoryKind, parse_ref
from steelyard_contracts.words import count_in_words, size_in_words

_PROPOSALS = "refs/"
_KEPT = ("version", "branch", "parent", "title", "message", "author", "created_at", "commit", "files", "size", "job")
Say = Callable[[str], None]


@dataclass
class Exported:
    """What an export came to. `left_out`: a sentence for each version that has no files here."""

    repositories: int = 0
    versions: int = 0
    runs: int = 0
    left_out: list[str] = field(default_factory=list)


def chosen(client: Client, what: str | None) -> Iterator[Ref]:
    """A repository, those of a team, or with None all that the token may read."""
    if what is not None and "/" in what:
        yield parse_ref(what)
        return
    for kind in (RepositoryKind.DATASET, RepositoryKind.MODEL):
        for item in client.repositories(kind, text=f"{what}/" if what else ""):
            namespace, _, name = item["name"].partition("/")
            if what is None or namespace.lower() == what.lower():
                yield Ref(kind, namespace, name)


def export(client: Client, refs: Iterable[Ref], folder: Path, *, say: Say) -> Exported:
    """Raises: InvalidInputError for a folder with something else in it, and the server's errors."""
    prepare(folder)
    with written(folder / "README.md") as file:
        file.write(README)
    contents, done = Contents(folder), Exported()
    runs = RunWriter(client, MLflowWriter(client, done.left_out))
    try:
        for known in sorted(folder.glob("*/*/*/versions/*.sha256")):
            contents.know(_home_of(folder, known), known.stem)
        for ref in refs:
            _Export(client, contents, runs, Home(folder, ref), done, say).run()
    finally:
        contents.close()
    return done


def _home_of(folder: Path, digests: Path) -> Home:
    kind, namespace, name = digests.relative_to(folder).parts[:3]
    return Home(folder, Ref(RepositoryKind(kind.removesuffix("s")), namespace, name))


class _Export:
    """One repository."""

    def __init__(
        self, client: Client, contents: Contents, runs: RunWriter, home: Home, done: Exported, say: Say
    ) -> None:
        self._client, self._contents, self._runs, self._done, self._say = client, contents, runs, done, say
        self._api = f"/api/v1/{home.ref.kind.plural}"
        found = client.transport.get(Repository, f"{self._api}/{home.ref.repository}")
        namespace, _, name = found.name.partition("/")  # as it is spelt, and where it has moved to
        self._ref = Ref(home.ref.kind, namespace, name)
        self._found = found
        self._home = Home(home.root, self._ref)

    def run(self) -> None:
        versions = self._versions()
        for record in versions:
            self._version(record)
        self._card(versions)
        self._names({record["version"] for record in versions})
        write_records(self._home.records("lineage"), self._edges(versions))
        if self._ref.kind is RepositoryKind.MODEL:
            self._evaluations(versions)
            self._done.runs += self._runs.write(self._home, versions, self._done.left_out)
        kept = ({key: value for key, value in one.items() if key != "job"} for one in versions)
        write_records(self._home.records("versions"), kept)
        about = self._found.model_dump(mode="json", include={"name", "kind", "public", "created_at"})
        write_json(self._home.folder / "repository.json", about)  # last: a repository with it can be imported
        self._done.repositories += 1
        self._say(f"{self._ref}: {count_in_words(len(versions), 'version')}")

    def _versions(self) -> list[dict[str, Any]]:
        """Oldest first; those of open proposals are unfinished work."""
        found = [{key: item[key] for key in _KEPT} for item in self._items("versions", limit=500)]
        return [one for one in found[::-1] if not one["branch"].startswith(_PROPOSALS)]

    def _version(self, record: dict[str, Any]) -> None:
        label = record["version"]
        ref = self._ref.at(label)
        if not self._home.digests(label).is_file():
            try:
                fetch_version(self._client.transport, self._contents, self._home, ref)
            except (QuarantinedError, BeingScannedError, ForbiddenError) as refusal:
                record["left_out"] = str(refusal)
                self._done.left_out.append(f"{ref}: {refusal}")
                shutil.rmtree(self._home.tree(label), ignore_errors=True)
                return
            self._say(f"{ref}: {count_in_words(record['files'], 'file')}, {size_in_words(record['size'])}")
        self._done.versions += 1

    def _card(self, versions: list[dict[str, Any]]) -> None:
        newest = next((one for one in versions[::-1] if one["branch"] == DEFAULT_REVISION), None)
        card = self._home.tree(newest["version"]) / "README.md" if newest else None
        if card is not None and card.is_file():
            part = self._home.card.with_name("CARD.md.part")
            shutil.copyfile(card, part)
            os.replace(part, self._home.card)  # noqa: PTH105 - the same as everywhere

    def _names(self, labels: set[str]) -> None:
        branches = [one for one in self._items("branches", limit=500) if not one["name"].startswith(_PROPOSALS)]
        write_records(self._home.records("branches"), sorted(branches, key=lambda one: one["name"]))
        tags = (one for one in self._items("tags", limit=500) if one["version"] in labels)
        write_records(self._home.records("tags"), sorted(tags, key=lambda one: one["name"]))
        aliases = self._client.transport.call("GET", f"{self._api}/{self._ref.repository}/aliases")
        write_records(self._home.records("aliases"), sorted(aliases, key=lambda one: one["name"]))
        moves = list(self._items("alias-history", limit=500))[::-1]
        write_records(self._home.records("alias-history"), map(_move, sorted(moves, key=_moment)))
        gates = self._client.transport.call("GET", f"{self._api}/{self._ref.repository}/gates")
        write_records(self._home.records("gates"), ({key: one[key] for key in ("rule", "applies_to")} for one in gates))

    def _edges(self, versions: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for record in versions:
            ref = self._ref.at(record["version"])
            edges = [edge for edge in self._client.lineage(ref, depth=1) if edge.target == str(ref)]
            for edge in sorted(edges, key=lambda one: (one.relation, one.source)):
                yield {**edge.model_dump(), "target": record["version"]}

    def _evaluations(self, versions: list[dict[str, Any]]) -> None:
        """All that was reported, and the figures once more as a table."""
        with written(self._home.folder / "measures.csv") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["version", "dataset", "split", "runtime", "metric", "value", "low", "high", "at"])
            write_records(
                self._home.records("evaluations"),
                chain.from_iterable(self._evaluations_of(one["version"], table) for one in versions),
            )

    def _evaluations_of(self, label: str, table: Any) -> Iterator[dict[str, Any]]:
        path = f"versions/{label}/evaluations"
        found = sorted(
            self._items(path, limit=500), key=lambda one: (one["created_at"], one["dataset"], one["runtime"])
        )
        for one in found:
            record = self._client.transport.call("GET", f"{self._api}/{self._ref.repository}/{path}/{one['id']}/record")
            report = record["report"]
            for metric, value in sorted(report["metrics"].items()):
                interval = report["intervals"].get(metric, {})
                place = [label, report["dataset"], report["split"], report["runtime"]]
                table.writerow(
                    [*place, metric, value, interval.get("low"), interval.get("high"), in_milliseconds(record["at"])]
                )
            yield {**record, "version": label}

    def _items(self, what: str, **query: Any) -> Iterator[dict[str, Any]]:
        return self._client.transport.items(f"{self._api}/{self._ref.repository}/{what}", **query)


def _move(item: dict[str, Any]) -> dict[str, Any]:
    """Without what follows from the rest, and the number of a request that is not exported."""
    return {key: value for key, value in item.items() if key not in {"overridden", "promotion"}}


def _moment(item: dict[str, Any]) -> tuple[Any, ...]:
    return in_milliseconds(item["at"]), item["alias"]
