"""Fills a Steelyard straight through its models: 10,000 commits of ten versions each would take an hour.

python -m benchmarks.scale.fill 10000        the environment says where; prints a token and a session's key
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any

from benchmarks.scale.corpus import VERSIONS, Made, corpus

if TYPE_CHECKING:
    from steelyard_platform.accounts.models import User
    from steelyard_platform.repos.models import Repository, Version

_BATCH = 500
_MEMBER_OF = 10  # of the teams; what the others keep private must not be found


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "steelyard_platform.config.settings"  # noqa: TID251 - before they are read
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    print(json.dumps(fill(int(sys.argv[1]))))


def fill(count: int) -> dict[str, str]:
    from django.db import connection
    from django.test import Client

    from steelyard_platform.accounts.models import Membership, Team
    from steelyard_platform.accounts.permissions import OPERATOR, Role, Scope
    from steelyard_platform.accounts.services import create_user
    from steelyard_platform.accounts.tokens import issue_token

    user = create_user(username="reader", password=None, actor=OPERATOR)
    names = sorted({made.team for made in islice(corpus(count), 100)})
    teams = {team.name: team for team in Team.objects.bulk_create(Team(name=name) for name in names)}
    Membership.objects.bulk_create(
        Membership(team=teams[name], user=user, role=Role.MAINTAINER) for name in names[:_MEMBER_OF]
    )
    datasets: list[Version] = []
    for batch in _batches(corpus(count)):
        _repositories(batch, teams, user, datasets)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    client = Client()
    client.force_login(user)
    _, token = issue_token(name="bench", scope=Scope.READ, user=user)
    return {"token": token, "session": client.cookies["sessionid"].value}


def _batches(made: Iterable[Made]) -> Iterator[list[Made]]:
    rest = iter(made)
    while batch := list(islice(rest, _BATCH)):
        yield batch


def _repositories(batch: list[Made], teams: dict[str, Any], user: User, datasets: list[Version]) -> None:
    from django.utils import timezone

    from steelyard_contracts.refs import RepositoryKind
    from steelyard_platform.repos.blobs import Pack
    from steelyard_platform.repos.card import parse_metadata, split_card, tags_of
    from steelyard_platform.repos.models import Alias, Branch, CardTag, Repository, SearchDocument
    from steelyard_platform.repos.search import EDITION
    from steelyard_platform.repos.words import words_of

    now = timezone.now()
    with Pack() as pack:
        cards = {made.number: pack.add(made.card.encode()) for made in batch}
        pack.store(teams[batch[0].team])
    rows: list[Repository] = []
    for made in batch:
        metadata, _ = parse_metadata(split_card(made.card)[0])
        rows.append(
            Repository(
                team=teams[made.team],
                name=made.name,
                kind=RepositoryKind.DATASET if made.is_dataset else RepositoryKind.MODEL,
                is_public=made.is_public,
                updated_at=now - timedelta(minutes=made.number),
                last_number=VERSIONS,
                card=metadata,
                tags=tags_of(metadata),
            )
        )
    Repository.objects.bulk_create(rows)
    CardTag.objects.bulk_create(CardTag(repository=row, tag=tag) for row in rows for tag in row.tags)
    SearchDocument.objects.bulk_create(
        SearchDocument(
            repository=row,
            name=row.full_name.lower(),
            words=" ".join(words_of(" ".join([row.full_name, *row.tags, made.card]))),
            task=made.task,
            library=made.library,
            size=_size(made.number, VERSIONS),
            downloads=made.number % 97,
            edition=EDITION,
        )
        for row, made in zip(rows, batch, strict=True)
    )
    branches = Branch.objects.bulk_create(Branch(repository=row) for row in rows)
    heads = [_versions(made, row, branch, user, now) for made, row, branch in zip(batch, rows, branches, strict=True)]
    _save_versions(heads)
    for branch, versions in zip(branches, heads, strict=True):
        branch.head = versions[-1]
    Branch.objects.bulk_update(branches, ["head"])
    _entries(batch, heads, cards)
    Alias.objects.bulk_create(
        Alias(repository=row, name="production", version=versions[-2])
        for row, versions in zip(rows, heads, strict=True)
    )
    datasets += [versions[-1] for made, versions in zip(batch, heads, strict=True) if made.is_dataset]
    _measures(batch, heads, datasets)


def _size(number: int, version: int) -> int:
    return (number % 1000 + 1) * 100_000 + version


def _versions(made: Made, row: Repository, branch: Any, user: User, now: datetime) -> list[Version]:
    from steelyard_platform.repos.models import Version

    return [
        Version(
            repository=row,
            branch=branch,
            number=number,
            commit_id=hashlib.sha1(f"{made.number}/{number}".encode()).hexdigest(),  # noqa: S324 - a name
            author=user,
            author_name="reader",
            title=f"Training {number} of {made.name}",
            created_at=now - timedelta(minutes=made.number, seconds=VERSIONS - number),
            file_count=3,
            total_size=_size(made.number, number),
        )
        for number in range(1, VERSIONS + 1)
    ]


def _save_versions(heads: list[list[Version]]) -> None:
    from steelyard_platform.repos.models import Version

    Version.objects.bulk_create(version for versions in heads for version in versions)
    later = []
    for versions in heads:
        for version, following in pairwise(versions):
            following.parent = version
            later.append(following)
    Version.objects.bulk_update(later, ["parent"], batch_size=_BATCH)


def _entries(batch: list[Made], heads: list[list[Version]], cards: dict[int, str]) -> None:
    """A card and a config that stay, and weights that each version replaces."""
    from steelyard_platform.repos.models import Blob, Entry

    blobs, entries = [], []
    for made, versions in zip(batch, heads, strict=True):
        branch = versions[0].branch
        entries += [
            Entry(branch=branch, path="README.md", blob_id=cards[made.number], added_in=1),
            Entry(branch=branch, path="config.json", blob_id=cards[made.number], added_in=1),
        ]
        for version in versions:
            sha256 = hashlib.sha256(version.commit_id.encode()).hexdigest()
            blobs.append(Blob(sha256=sha256, size=version.total_size, object_key=f"blobs/{sha256[:2]}/{sha256}"))
            ends = version.number + 1 if version.number < VERSIONS else None
            entries.append(
                Entry(
                    branch=branch,
                    path="model.safetensors",
                    blob_id=sha256,
                    is_lfs=True,
                    added_in=version.number,
                    removed_in=ends,
                )
            )
    Blob.objects.bulk_create(blobs)
    Entry.objects.bulk_create(entries)


def _measures(batch: list[Made], heads: list[list[Version]], datasets: list[Version]) -> None:
    """Of every second model's last three versions, on a dataset of its own and one that all share."""
    from steelyard_platform.weights.models import Evaluation, LineageEdge, NewestMeasure, Relation

    evaluations, edges, newest = [], [], []
    for made, versions in zip(batch, heads, strict=True):
        if made.is_dataset:
            continue
        source = datasets[made.number % len(datasets)]
        edges += [LineageEdge(source=source, target=version, relation=Relation.TRAINED_ON) for version in versions]
        if made.accuracy is None:
            continue
        metrics = {"accuracy": made.accuracy, "latency_ms_p50": 1 + made.number % 50}
        for dataset in dict.fromkeys((datasets[0], source)):
            evaluations += [
                Evaluation(version=version, dataset=dataset, split="validation", runtime="onnxruntime", metrics=metrics)
                for version in versions[-3:]
            ]
            newest += [
                NewestMeasure(repository=versions[0].repository, dataset=dataset.repository, metric=metric, value=value)
                for metric, value in metrics.items()
            ]
    Evaluation.objects.bulk_create(evaluations)
    LineageEdge.objects.bulk_create(edges)
    NewestMeasure.objects.bulk_create(newest)


if __name__ == "__main__":
    main()
