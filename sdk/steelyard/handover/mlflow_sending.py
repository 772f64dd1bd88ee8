"""What MLflow's clients have said and logged, into a Steelyard: by the addresses that those clients use themselves."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from steelyard.client import Client
from steelyard.handover.contents import sha256_of_file
from steelyard.handover.mlflow_client import MLflowServer
from steelyard.handover.mlflow_writing import FAILED
from steelyard.handover.source import File, LoggedModel, Registered, SourceGoneError, SourceRepository
from steelyard_contracts.errors import DigestMismatchError
from steelyard_contracts.names import check_file_path
from steelyard_contracts.refs import Ref

_ROOM = UUID("3c1c7c0e-93b1-5d53-9a52-0c8d8a1f7a40")  # in which the keys of imported models are made
_PROXIED = "mlflow-artifacts:/"
_MOST_METRICS = 1000
_READY = "LOGGED_MODEL_READY"


class MLflowSender:
    """Into one repository."""

    def __init__(self, client: Client, ref: Ref) -> None:
        self._server, self._name = MLflowServer.of_steelyard(client.transport), ref.repository

    def send_files_of_run(self, run: str, files: Mapping[str, File]) -> None:
        """`run`: its id here. A file that is there already is replaced by the same."""
        if files:
            self._send_files(str(self._server.needed_run(run)["info"]["artifact_uri"]), files)

    def send_inputs(self, run: str, inputs: list[dict[str, Any]]) -> None:
        """What the run read, as MLflow's clients said it."""
        if inputs:
            self._server.tell("POST", "runs/log-inputs", {"run_id": run, "datasets": inputs})

    def send_words(self, source: SourceRepository, labels: Mapping[str, str]) -> None:
        """Descriptions, tags and stages. `labels`: what each version of the source is called here."""
        if source.registered is not None and not source.versions and not self._server.is_registered(self._name):
            self._server.tell("POST", "registered-models/create", {"name": self._name})
        if source.experiment_tags and (experiment := self._server.experiment(self._name)) is not None:
            for key, value in source.experiment_tags.items():
                body = {"experiment_id": experiment["experiment_id"], "key": key, "value": value}
                self._server.tell("POST", "experiments/set-experiment-tag", body)
        if source.registered:
            self._say("registered-models", {"name": self._name}, source.registered)
        for version in source.versions:
            if version.registered and version.label in labels:
                place = {"name": self._name, "version": labels[version.label].removeprefix("v")}
                self._say("model-versions", place, version.registered)

    def _say(self, what: str, place: dict[str, str], said: Registered) -> None:
        if said.description:
            self._server.tell("PATCH", f"{what}/update", {**place, "description": said.description})
        for key, value in said.tags.items():
            self._server.tell("POST", f"{what}/set-tag", {**place, "key": key, "value": value})
        if said.stage:
            body = {**place, "stage": said.stage, "archive_existing_versions": False}
            self._server.tell("POST", f"{what}/transition-stage", body)

    def send_logged(self, models: list[LoggedModel], runs: Mapping[str, str], faults: list[str]) -> int:
        """How many are new. `runs`: ids here, by the source's keys; `faults` takes a sentence for what is gone."""
        experiment = self._server.experiment(self._name) if models else None
        if experiment is None:
            return 0
        seen, count = Counter[tuple[str, str]](), 0
        for model in models:
            place = model.name, model.run
            seen[place] += 1  # a run logs several of one name, one after each epoch
            key = uuid5(_ROOM, f"{self._name}|{model.run}|{model.name}|{seen[place]}")
            count += self._send_model(model, experiment["experiment_id"], key, runs, faults)
        return count

    def _send_model(
        self, model: LoggedModel, experiment: str, key: UUID, runs: Mapping[str, str], faults: list[str]
    ) -> bool:
        """Whether it is new. One that an earlier import left half is completed: its status is said last."""
        body: dict[str, Any] = {
            "name": model.name,
            "source_run_id": runs.get(model.run, ""),
            "experiment_id": experiment,
        }
        body |= {"model_type": model.model_type, "tags": _as_pairs(model.tags), "params": _as_pairs(model.params)}
        body |= {"key": str(key), "creation_timestamp_ms": _milliseconds(model.created_at)}
        info = self._server.tell("POST", "logged-models", body)["model"]["info"]
        if info["status"] == _READY:
            return False
        status = FAILED if model.is_failed else _READY
        try:
            self._send_files(info["artifact_uri"], model.files())
        except SourceGoneError as error:
            status = FAILED
            faults.append(f"files of the logged model {model.name}: {error}")
        self._send_outputs(model, info["model_id"], runs)
        self._send_measures(model, info["model_id"], runs)
        end = {"model_id": info["model_id"], "status": status}
        self._server.tell("PATCH", f"logged-models/{info['model_id']}", end)
        return status == _READY or info["status"] != FAILED

    def _send_outputs(self, model: LoggedModel, model_id: str, runs: Mapping[str, str]) -> None:
        for run, step in model.outputs:
            if run in runs:
                made = {"run_id": runs[run], "models": [{"model_id": model_id, "step": step}]}
                self._server.tell("POST", "runs/outputs", made)

    def _send_measures(self, model: LoggedModel, model_id: str, runs: Mapping[str, str]) -> None:
        """Each with the run that measured: MLflow has no other way to say it."""
        by_run: dict[str, list[dict[str, Any]]] = {}
        for one in model.metrics:
            if one["run_id"] in runs:
                run = runs[one["run_id"]]
                by_run.setdefault(run, []).append({**one, "run_id": run, "model_id": model_id})
        for run, measured in by_run.items():
            for start in range(0, len(measured), _MOST_METRICS):
                body = {"run_id": run, "metrics": measured[start : start + _MOST_METRICS]}
                self._server.tell("POST", "runs/log-batch", body)

    def _send_files(self, uri: str, files: Mapping[str, File]) -> None:
        root = uri.removeprefix(_PROXIED)
        for path, file in files.items():
            with tempfile.TemporaryDirectory(prefix="steelyard-import-") as scratch:
                place = file.fetch(Path(scratch))
                if file.sha256 and sha256_of_file(place) != file.sha256:
                    raise DigestMismatchError(f"{place} was changed or damaged since it was exported.", path=str(place))
                self._server.put(f"{root}/{check_file_path(path)}", place)


def _milliseconds(at: datetime | None) -> int:
    return round(at.timestamp() * 1000) if at else 0


def _as_pairs(found: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in found.items()]
