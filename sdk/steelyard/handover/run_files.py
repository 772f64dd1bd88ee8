"""Runs in an export: written as `run.json`, `metrics.csv` and `console.log`, and read from there.

A training that our own workers did is written as a run too: elsewhere there is no worker that ever did it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from steelyard.client import Client
from steelyard.handover.layout import Home, read_digests, read_json, write_json, written
from steelyard.handover.mlflow_writing import DIGESTS, FILES, PARENT, MLflowWriter
from steelyard.handover.source import File, LocalFile, Point, SourceRun, moment
from steelyard_contracts.digests import sha256_of
from steelyard_contracts.errors import InvalidInputError, NotFoundError
from steelyard_contracts.jobs import JobState, JobView
from steelyard_contracts.refs import parse_ref

AUTHOR = "author"  # the tag that keeps whose run it was, where another brought it in
_UNFIT, _SPACE, _LONGEST = '%/\\:*?"<>|', 32, 200
_ENDS = {JobState.SUCCEEDED: "succeeded", JobState.CANCELLED: "cancelled", JobState.FAILED: "failed"}
_ENDED = {**_ENDS, JobState.LOST: "failed"}
_UNHEARD = "It had not ended, and was not heard of any more, when it was exported."
_COLUMNS = ["metric", "step", "value", "at"]
_KEPT = ("config", "datasets", "base")


class RunWriter:
    """Of one export. The trainings of a team are listed once."""

    def __init__(self, client: Client, mlflow: MLflowWriter) -> None:
        self._client, self._mlflow = client, mlflow
        self._trainings: dict[str, list[JobView]] = {}
        self._makers: dict[UUID, dict[str, str] | None] = {}

    def write(self, home: Home, versions: list[dict[str, Any]], left_out: list[str]) -> int:
        """Every run that has ended; those that have not get a sentence in `left_out`. Notes whose each version is."""
        count, names, outputs = 0, dict[str, str](), dict[str, list[list[Any]]]()
        for job in self._jobs(home):
            name = job.run.name if job.run else f"{job.kind}-{str(job.id)[:8]}"
            is_dead = job.run is not None and job.run.is_silent
            if job.state not in _ENDED and not is_dead:
                left_out.append(f"the run {name} of {home.ref} goes on; export again when it has ended")
                continue
            names[job.id.hex] = name
            own = [one for one in versions if one["job"] == str(job.id)]
            for one in own:
                one["run"] = name
            folder = home.runs / file_name(name)
            _write_metrics(self._client, job, folder / "metrics.csv")
            _write_lines(self._client, job, folder / "console.log")
            record = _record(job, name)
            if job.run is not None:
                self._mlflow.write_run(job, folder)
                known = self._mlflow.known_of(job.id)
                record["inputs"] = known.get("inputs", {}).get("dataset_inputs", [])
                for one in known.get("outputs", {}).get("model_outputs", []):
                    outputs.setdefault(one["model_id"], []).append([name, one.get("step", 0)])
            if parent := names.get(record["tags"].get(PARENT, "")):
                record["parent"] = parent  # by its name: ids are others elsewhere
                del record["tags"][PARENT]
            write_json(folder / "run.json", record)  # last: a run with it is whole
            count += 1
        self._note_makers(versions)
        self._mlflow.write_model(home, names, outputs)
        return count

    def _note_makers(self, versions: list[dict[str, Any]]) -> None:
        """Of versions that were registered from a run of another project: which."""
        for one in versions:
            if one["job"] and not one.get("run") and (maker := self._maker(UUID(one["job"]))):
                one["made_by"] = maker

    def _maker(self, job: UUID) -> dict[str, str] | None:
        if job not in self._makers:
            try:
                run = self._client.job(job).run
            except NotFoundError:
                run = None
            self._makers[job] = {"project": run.project, "run": run.name} if run else None
        return self._makers[job]

    def _jobs(self, home: Home) -> Iterator[JobView]:
        """Oldest first."""
        runs = self._client.transport.items("/api/v1/runs", project=home.ref.repository, limit=500)
        found = [JobView.model_validate(item) for item in runs]
        found += [job for job in self._of_team(home.ref.namespace) if _output(job) == home.ref.repository.lower()]
        yield from sorted(found, key=lambda job: job.created_at)

    def _of_team(self, team: str) -> list[JobView]:
        if team not in self._trainings:
            self._trainings[team] = [job for job in self._client.jobs(team=team) if job.kind == "train"]
        return self._trainings[team]


def read_runs(home: Home) -> list[SourceRun]:
    """In the order of their beginnings."""
    found = [_run(path.parent) for path in sorted(home.runs.glob("*/run.json"))]
    return sorted(found, key=lambda run: ((run.started_at is not None and run.started_at.isoformat()) or "", run.name))


def file_name(name: str) -> str:
    """A run's name as a folder's: what some disk does not take is written as in addresses; short enough for any."""
    plain = "".join(f"%{ord(letter):02X}" if letter in _UNFIT or ord(letter) < _SPACE else letter for letter in name)
    if plain.strip(". ") != plain or len(plain.encode()) > _LONGEST:
        return f"{plain.encode()[:_LONGEST].decode(errors='ignore').strip('. ')}-{sha256_of(name.encode())[:8]}"
    return plain


def _output(job: JobView) -> str:
    output = str(getattr(job.spec, "output", "") or "")
    try:
        return parse_ref(output).repository.lower()
    except InvalidInputError:
        return ""


def _record(job: JobView, name: str) -> dict[str, Any]:
    spec = job.spec.model_dump(mode="json")
    run = job.run
    tags = dict(run.tags) if run else {}
    author = tags.pop(AUTHOR, job.created_by)
    given = {key: spec[key] for key in _KEPT} if run else {"config": spec, "datasets": [spec["dataset"]], "base": None}
    result = {key: value for key, value in job.result.items() if key != "version"}
    # One that was not heard of for long may never say how it ended.
    state, error, end = _ENDED.get(job.state, "failed"), job.error or "", job.finished_at
    if run is not None and job.state not in _ENDED:
        error, end = _UNHEARD, run.heard_at
    return {
        "name": name,
        "author": author,
        "source": str(run.source) if run else "steelyard",
        "state": state,
        "started_at": _text(job.started_at or job.created_at),
        "finished_at": _text(end),
        "error": error,
        "tags": tags,
        "environment": run.environment if run else {},
        "git": run.git.model_dump(mode="json") if run and run.git else None,
        "result": result if run else {},
        **given,
    }


def _write_metrics(client: Client, job: JobView, path: Path) -> None:
    with written(path) as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(_COLUMNS)
        names = [item["name"] for item in client.transport.items(f"/api/v1/jobs/{job.id}/metric-names", limit=500)]
        for name in sorted(names):
            for point in client.runs.points(job.id, name):
                table.writerow([name, point.step, repr(point.value), point.timestamp])


def _write_lines(client: Client, job: JobView, path: Path) -> None:
    after = 0
    with written(path) as file:
        while page := client.logs(job.id, after=after):
            file.writelines(line.text.replace("\n", "\\n") + "\n" for line in page)
            after = page[-1].id


def _run(folder: Path) -> SourceRun:
    record = read_json(folder / "run.json")
    try:
        return SourceRun(
            name=str(record["name"]),
            author=record.get("author"),
            state=str(record["state"]),
            started_at=moment(record["started_at"]),
            finished_at=moment(record["finished_at"]) if record.get("finished_at") else None,
            config=record.get("config") or {},
            tags=record.get("tags") or {},
            environment=record.get("environment") or {},
            git=record.get("git"),
            source=str(record.get("source") or "import"),
            error=str(record.get("error") or ""),
            result=record.get("result") or {},
            parent=str(record.get("parent") or ""),
            inputs=record.get("inputs") or [],
            datasets=record.get("datasets") or [],
            base=record.get("base"),
            files=partial(logged_files, folder),
            points=partial(_points, folder / "metrics.csv"),
            lines=partial(_lines, folder / "console.log"),
        )
    except (KeyError, TypeError) as error:
        raise InvalidInputError(f"{folder / 'run.json'} is no record of a run ({error}).") from error


def logged_files(folder: Path) -> dict[str, File]:
    """Of a run, or of a logged model."""
    digests, files = folder / DIGESTS, folder / FILES
    if not digests.is_file():
        return {}
    return {path: LocalFile(files / path, sha256, folder) for path, sha256 in read_digests(digests)}


def _points(path: Path) -> Iterator[Point]:
    if not path.is_file():
        return
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            try:
                at = int(row["at"]) if row.get("at") else None
                yield Point(row["metric"], int(row["step"]), float(row["value"]), at)
            except (KeyError, TypeError, ValueError) as error:
                raise InvalidInputError(f"{path}, line {number}, is no metric, step and value.") from error


def _lines(path: Path) -> Iterator[str]:
    if path.is_file():
        with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
            for line in file:
                yield line.rstrip("\n")


def _text(at: Any) -> str | None:
    return at.isoformat() if at is not None else None
