"""What MLflow's clients have said and logged, into a Steelyard: by the addresses that those clients use themselves."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from steelyard.client import Client
from steelyard.handover.contents import sha256_of_file
from steelyard.handover.mlflow_client import MLflowServer
from steelyard.handover.source import File, LoggedModel, Registered, SourceGoneError, SourceRepository
from steelyard_contracts.errors import DigestMismatchError
from steelyard_contracts.names import check_file_path
from steelyard_contracts.refs import Ref

_PROXIED = "mlflow-artifacts:/"
_READY, _FAILED = "LOGGED_MODEL_READY", "LOGGED_MODEL_UPLOAD_FAILED"


class MLflowSender:
    """Into one repository."""

    def __init__(self, client: Client, ref: Ref) -> None:
        self._server, self._name = MLflowServer.of_steelyard(client.transport), ref.repository

    def send_files_of_run(self, run: str, files: Mapping[str, File]) -> None:
        """`run`: its id here. A file that is there already is replaced by the same."""
        if files:
            self._send_files(str(self._server.needed_run(run)["info"]["artifact_uri"]), files)

    def send_words(self, source: SourceRepository, labels: Mapping[str, str]) -> None:
        """Descriptions, tags and stages. `labels`: what each version of the source is called here."""
        if source.registered is not None and not source.versions and self._server.model(self._name) is None:
            self._server.tell("POST", "registered-models/create", {"name": self._name})
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
        number = experiment["experiment_id"]
        there = {_identity(one["info"]) for one in self._server.logged_models(number)}
        count = 0
        for model in models:
            about = {"name": model.name, "source_run_id": runs.get(model.run, "")}
            if _identity(about) in there:
                continue
            body = {**about, "experiment_id": number, "model_type": model.model_type}
            told = {"tags": _as_pairs(model.tags), "params": _as_pairs(model.params)}
            info = self._server.tell("POST", "logged-models", {**body, **told})["model"]["info"]
            status = _READY
            try:
                self._send_files(info["artifact_uri"], model.files())
            except SourceGoneError as error:
                status = _FAILED
                faults.append(f"files of the logged model {model.name}: {error}")
            end = {"model_id": info["model_id"], "status": status}
            self._server.tell("PATCH", f"logged-models/{info['model_id']}", end)
            if about["source_run_id"]:
                made = {"run_id": about["source_run_id"], "models": [{"model_id": info["model_id"], "step": 0}]}
                self._server.tell("POST", "runs/outputs", made)
            count += 1
        return count

    def _send_files(self, uri: str, files: Mapping[str, File]) -> None:
        root = uri.removeprefix(_PROXIED)
        for path, file in files.items():
            with tempfile.TemporaryDirectory(prefix="steelyard-import-") as scratch:
                place = file.fetch(Path(scratch))
                if file.sha256 and sha256_of_file(place) != file.sha256:
                    raise DigestMismatchError(f"{place} was changed or damaged since it was exported.", path=str(place))
                self._server.put(f"{root}/{check_file_path(path)}", place)


def _identity(info: Mapping[str, str]) -> tuple[str, str]:
    return info.get("name", ""), info.get("source_run_id", "")


def _as_pairs(found: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in found.items()]
