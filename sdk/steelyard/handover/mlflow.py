"""An MLflow server as the source of an import: registered models with their versions, experiments with their runs.

A registered model becomes a repository: its version 3 is v3, made on the day that it was made there. The runs of an
experiment become runs of a repository with the experiment's name, which comes into being if it is not there. A version
whose files lie where the server does not serve them does not come, and the import says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from steelyard.handover.download import save
from steelyard.handover.mlflow_client import MLflowServer
from steelyard.handover.mlflow_writing import FAILED, PARENT, measures, pairs, told, words
from steelyard.handover.naming import NOBODY
from steelyard.handover.plain import slug
from steelyard.handover.source import (
    File,
    LoggedModel,
    Point,
    Registered,
    SourceGoneError,
    SourceRepository,
    SourceRun,
    SourceVersion,
)
from steelyard_contracts.errors import InvalidInputError, NotFoundError
from steelyard_contracts.refs import Ref, RepositoryKind

_STATES = {"FINISHED": "succeeded", "FAILED": "failed", "KILLED": "cancelled"}
_UNKNOWN = "unknown"
_IN_RUN = re.compile(r"^(?:runs:/|.*?/)([0-9a-f]{32})/(?:artifacts/)?(.*)$")
_PROXIED = "mlflow-artifacts:"
_Found = dict[str, Any] | None


class MLflow:
    """`http://host#name`, or `http://host` for every model and every experiment with runs."""

    def __init__(self, address: str, *, token: str | None = None, server: MLflowServer | None = None) -> None:
        url, _, self._name = address.partition("#")
        self._server = server or MLflowServer(url, token)

    def repositories(self) -> list[SourceRepository]:
        """Raises: NotFoundError for a name that is neither a model nor an experiment."""
        models: list[_Found] = [self._server.model(self._name)] if self._name else list(self._server.models())
        experiments: list[_Found] = (
            [self._server.experiment(self._name)] if self._name else list(self._server.experiments())
        )
        made = [(one["name"], self._of_model(one)) for one in models if one is not None]
        done = [(one["name"], self._of_experiment(one)) for one in experiments if one is not None]
        if self._name and not made and not done:
            raise NotFoundError(f"{self._server.transport.url} has no model and no experiment {self._name!r}.")
        _leave_to_experiments([one for _, one in made], [one for _, one in done])
        return _merged([*made, *((name, one) for name, one in done if self._name or one.runs or one.logged)])

    def _of_model(self, model: Mapping[str, Any]) -> SourceRepository:
        found = SourceRepository(
            ref=_ref(model["name"]),
            created_at=_moment(model.get("creation_timestamp")),
            registered=Registered(**words(dict(model))),
        )
        for version in self._server.versions(model["name"]):
            self._add_version(found, model, version)
        labels = {one.label for one in found.versions}
        for alias in model.get("aliases", []):
            if f"v{alias['version']}" in labels:
                found.aliases.append({"name": alias["alias"], "version": f"v{alias['version']}", "protected": False})
            else:
                where = f"version {alias['version']}, which cannot come"
                found.faults.append(f"the alias {alias['alias']} stands on {where}")
        return found

    def _add_version(self, found: SourceRepository, model: Mapping[str, Any], version: Mapping[str, Any]) -> None:
        name, number = model["name"], str(version["version"])
        uri = self._server.download_uri(name, number)
        place = _place_of(uri, version.get("run_id") or "")
        if place is None:
            where = f"at {uri or 'no place'}, which the server does not serve"
            found.faults.append(f"version {number} of {name} lies {where}")
            return
        run = self._server.run(version["run_id"]) if version.get("run_id") else None
        made = self._run(run) if run else None
        found.versions.append(
            SourceVersion(
                label=f"v{number}",
                number=int(number),
                title=f"MLflow version {number}",
                message=_message(model, version),
                author=version.get("user_id") or (made and made.author) or _UNKNOWN,
                created_at=_moment(version.get("creation_timestamp")) or datetime.now(UTC),
                tree=partial(self._tree, place),
                run=version.get("run_id") or None,
                registered=Registered(**words(dict(version))),
            )
        )
        if made is not None:
            _add_once(found.runs, made)

    def _of_experiment(self, experiment: Mapping[str, Any]) -> SourceRepository:
        found = SourceRepository(ref=_ref(experiment["name"]), created_at=_moment(experiment.get("creation_time")))
        found.experiment_tags = told(pairs(experiment.get("tags", [])))
        outputs: dict[str, list[tuple[str, int]]] = {}
        for run in self._server.runs(experiment["experiment_id"]):
            if run["info"].get("status") in _STATES:
                _add_once(found.runs, self._run(run))
                for one in run.get("outputs", {}).get("model_outputs", []):
                    outputs.setdefault(one["model_id"], []).append((run["info"]["run_id"], int(one.get("step") or 0)))
            else:
                found.faults.append(f"the run {run['info'].get('run_name') or run['info']['run_id']} has not ended")
        for model in self._server.logged_models(experiment["experiment_id"]):
            self._add_logged(found, model["info"], model.get("data", {}), outputs)
        return found

    def _add_logged(
        self,
        found: SourceRepository,
        info: Mapping[str, Any],
        data: Mapping[str, Any],
        outputs: Mapping[str, list[tuple[str, int]]],
    ) -> None:
        place = _place_of(info.get("artifact_uri") or "", "")
        if place is None:
            where = f"lies at {info.get('artifact_uri') or 'no place'}, which the server does not serve"
            found.faults.append(f"the logged model {info['name']} {where}")
            return
        logged = LoggedModel(
            name=info["name"],
            run=info.get("source_run_id") or "",
            created_at=_moment(info.get("creation_timestamp_ms")),
            outputs=outputs.get(info.get("model_id") or "", []),
            metrics=measures(data, {}),
            is_failed=info.get("status") == FAILED,
            model_type=info.get("model_type") or "",
            tags=pairs(info.get("tags", [])),
            params=pairs(data.get("params", [])),
            # A model that is elsewhere, such as an application's, has no files.
            files=partial(self._tree, place) if place.run else partial(self._proxied, place.path),
        )
        found.logged.append(logged)

    def _run(self, run: Mapping[str, Any]) -> SourceRun:
        info, data = run["info"], run.get("data", {})
        tags = {one["key"]: str(one.get("value", "")) for one in data.get("tags", [])}
        names = [one["key"] for one in data.get("metrics", [])]
        commit, branch = tags.get("mlflow.source.git.commit", ""), tags.get("mlflow.source.git.branch", "")
        return SourceRun(
            name=info.get("run_name") or info["run_id"],
            key=info["run_id"],
            author=info.get("user_id") or tags.get("mlflow.user"),
            state=_STATES.get(info.get("status", ""), "failed"),
            started_at=_moment(info.get("start_time")),
            finished_at=_moment(info.get("end_time")),
            config={one["key"]: one.get("value") for one in data.get("params", [])},
            tags={**told(tags), "mlflow.run_id": info["run_id"]},
            parent=tags.get(PARENT, ""),
            inputs=list(run.get("inputs", {}).get("dataset_inputs", [])),
            git={"commit": commit, "branch": branch} if commit else None,
            source="import",
            files=partial(self._files_of_run, info["run_id"]),
            points=partial(self._points, info["run_id"], names),
        )

    def _points(self, run: str, names: list[str]) -> Iterator[Point]:
        """Of points at one step, which MLflow allows, the last one counts."""
        for name in names:
            by_step = {int(one.get("step", 0)): one for one in self._server.history(run, name)}
            for step, one in sorted(by_step.items()):
                yield Point(name, step, float(one["value"]), int(one.get("timestamp", 0)) or None)

    def _files_of_run(self, run: str) -> dict[str, File]:
        server = self._server
        found = (one["path"] for one in server.files_of_run(run))
        return {path: _Artifact(server, server.address_in_run(run, path), path) for path in found}

    def _tree(self, place: _Place) -> dict[str, File]:
        """Raises: SourceGoneError for a version whose files are gone."""
        server = self._server
        files: dict[str, File] = {}
        if place.run:
            for one in server.files_of_run(place.run, place.path):
                inside = one["path"].removeprefix(place.path).lstrip("/")
                files[inside] = _Artifact(server, server.address_in_run(place.run, one["path"]), inside)
        else:
            files |= self._proxied(place.path)
        if not files and place.path:  # a model may be a single file
            address = server.address_in_run(place.run, place.path) if place.run else server.address_proxied(place.path)
            name = place.path.rpartition("/")[2]
            files[name] = _Artifact(server, address, name)
        if not files:
            raise SourceGoneError(f"{server.transport.url} has no files of it any more.")
        return files

    def _proxied(self, root: str) -> dict[str, File]:
        server = self._server
        found = (one["path"] for one in server.proxied_files(root))
        return {path: _Artifact(server, server.address_proxied(f"{root}/{path}"), path) for path in found}


@dataclass(frozen=True, slots=True)
class _Place:
    """Below an artifact path of a run; without a run, of the server's own store."""

    run: str
    path: str


@dataclass(frozen=True, slots=True)
class _Artifact:
    server: MLflowServer
    address: str
    path: str
    sha256: str = ""

    def fetch(self, scratch: Path) -> Path:
        target = scratch / self.path
        if not target.resolve().is_relative_to(scratch.resolve()):
            raise InvalidInputError(f"The artifact {self.path!r} leads out of its folder.")
        try:
            save(self.server.transport, self.address, target)
        except NotFoundError as error:
            raise SourceGoneError(f"{self.server.transport.url} has no {self.path} of it any more.") from error
        return target


def _place_of(uri: str, run: str) -> _Place | None:
    """None for what the server does not serve."""
    if uri.startswith(_PROXIED):
        # mlflow-artifacts:/0/… and mlflow-artifacts://host/0/…
        rest = uri.removeprefix(_PROXIED)
        path = rest.lstrip("/") if not rest.startswith("//") else rest[2:].partition("/")[2]
        return _Place("", path.rstrip("/"))
    if (inside := _IN_RUN.match(uri)) and run and inside[1] == run:
        return _Place(run, inside[2].strip("/"))
    return None


def _message(model: Mapping[str, Any], version: Mapping[str, Any]) -> str:
    """What it says of itself and of its model, for those who read it here."""
    tags = [f"{one['key']}: {one.get('value', '')}" for one in version.get("tags", [])]
    stage = version.get("current_stage")
    parts = [version.get("description") or "", model.get("description") or "", "\n".join(tags)]
    parts.append(f"stage: {stage}" if stage and stage != "None" else "")
    return "\n\n".join(part for part in parts if part)


def _add_once(runs: list[SourceRun], run: SourceRun) -> None:
    if all(one.key != run.key for one in runs):
        runs.append(run)


def _leave_to_experiments(models: list[SourceRepository], experiments: list[SourceRepository]) -> None:
    """The run that a model was registered from comes once: with its experiment, where that comes too."""
    known = {run.key: run for one in experiments for run in one.runs}
    for model in models:
        model.runs = [run for run in model.runs if run.key not in known]
        for version in model.versions:
            if version.run in known:
                known[version.run].registered.append((model, version.label))


def _merged(found: list[tuple[str, SourceRepository]]) -> list[SourceRepository]:
    """A model and an experiment of one name are one repository; two whose names are one here are told apart."""
    by_name: dict[str, SourceRepository] = {}
    taken: set[str] = set()
    for name, one in found:
        known = by_name.setdefault(name, one)
        if known is not one:
            for run in one.runs:
                _add_once(known.runs, run)
            known.logged += one.logged
            known.experiment_tags |= one.experiment_tags
            known.faults += one.faults
            continue
        wanted, number = one.ref, 2
        while str(one.ref).lower() in taken:
            one.ref, number = replace(wanted, name=f"{wanted.name}-{number}"), number + 1
        taken.add(str(one.ref).lower())
    return list(by_name.values())


def _ref(name: str) -> Ref:
    """`team/shelf` stays what it says."""
    team, slash, rest = name.strip("/").partition("/")
    if slash and rest and "/" not in rest:
        return Ref(RepositoryKind.MODEL, slug(team), slug(rest))
    return Ref(RepositoryKind.MODEL, NOBODY, slug(name))


def _moment(milliseconds: Any) -> datetime | None:
    number = int(milliseconds or 0)
    return datetime.fromtimestamp(number / 1000, UTC) if number > 0 else None
