"""Model versions as MLflow shows them; a page costs the same few queries as one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from steelyard_platform.accounts.models import Team
from steelyard_platform.jobs.models import Job
from steelyard_platform.jobs.run_facts import RUN
from steelyard_platform.mlflow.http import as_pairs, millis
from steelyard_platform.mlflow.names import name_for
from steelyard_platform.mlflow.registry import note_of
from steelyard_platform.repos.models import Alias, Version


def address_of(version: Version) -> str:
    """Where its files are read."""
    return f"mlflow-artifacts:/versions/{version.repository_id.hex}/{version.number}"


def download_uri(version: Version) -> str:
    """Of a version without files, what its source was: it is somewhere else."""
    source = note_of(version).source
    return source if source and not version.file_count else address_of(version)


def records_of(versions: Sequence[Version], own: Team, name: str = "") -> list[dict[str, Any]]:
    """Each with its repository, its registration and its note; `name`: how the client called the repository."""
    aliases: dict[int, list[str]] = defaultdict(list)
    for key, alias in (
        Alias.objects.filter(version__in=[one.pk for one in versions])
        .order_by("name")
        .values_list("version_id", "name")
    ):
        aliases[key].append(alias)
    runs = _runs_that_saved(versions)
    return [
        _record(one, name or name_for(one.repository, own), aliases[one.pk], runs.get(one.job, "")) for one in versions
    ]


def _runs_that_saved(versions: Sequence[Version]) -> dict[UUID | None, str]:
    """Ids of runs by the jobs' that committed: of versions that came another way than by MLflow's clients."""
    jobs = {one.job for one in versions if one.job is not None and not note_of(one).run_id}
    found = Job.objects.filter(pk__in=jobs, kind=RUN).values_list("pk", flat=True) if jobs else ()
    return {pk: pk.hex for pk in found}


def _record(version: Version, name: str, aliases: list[str], run: str) -> dict[str, Any]:
    note = note_of(version)
    record: dict[str, Any] = {
        "name": name,
        "version": str(version.number),
        "creation_timestamp": millis(version.created_at),
        "last_updated_timestamp": millis(note.updated_at),
        "user_id": version.author_name,
        "current_stage": note.stage,
        "description": note.description,
        "source": note.source or address_of(version),
        "run_id": note.run_id or run,
        "run_link": note.run_link,
        "status": "READY",
        "tags": as_pairs(note.tags),
        "aliases": aliases,
    }
    if note.model_id:
        record["model_id"] = note.model_id
    return record
