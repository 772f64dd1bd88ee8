"""What a Steelyard knows by way of MLflow's clients alone, into an export: files of runs, logged models, descriptions.

models/team/name/mlflow.json                what is said of the model and of its versions
models/team/name/runs/exp1/artifacts/…      the files of a run; artifacts.sha256 beside them is written last
models/team/name/logged-models/1/           model.json, and its files as those of a run
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from steelyard.client import Client
from steelyard.handover.contents import sha256_of_file
from steelyard.handover.download import save
from steelyard.handover.layout import Home, digest_line, read_digests, write_json, written
from steelyard.handover.mlflow_client import MLflowServer
from steelyard_contracts.errors import BeingScannedError, ForbiddenError, InvalidInputError, QuarantinedError
from steelyard_contracts.jobs import JobView

FILES, DIGESTS = "artifacts", "artifacts.sha256"
_PROXIED = "mlflow-artifacts:/"
PARENT = "mlflow.parentRunId"
FAILED = "LOGGED_MODEL_UPLOAD_FAILED"
_NO_STAGE = "None"
_OWN_TAGS = "mlflow."
_TOLD = frozenset({"mlflow.note.content", "mlflow.source.name", "mlflow.source.type"})
_MEASURE = frozenset({"key", "value", "timestamp", "step", "run_id", "dataset_name", "dataset_digest"})


class MLflowWriter:
    """Of one export. `left_out` takes a sentence for each file that may not go out."""

    def __init__(self, client: Client, left_out: list[str]) -> None:
        self._server, self._left_out = MLflowServer.of_steelyard(client.transport), left_out

    def write_run(self, job: JobView, folder: Path) -> None:
        """The files that the run has logged. A run that has ended logs no more."""
        run = job.id.hex
        found = ((one["path"], self._server.address_in_run(run, one["path"])) for one in self._server.files_of_run(run))
        self._write_files(folder, found)

    def known_of(self, run: UUID) -> dict[str, Any]:
        """The run in MLflow's words, with what it read and what came of it."""
        return self._server.needed_run(run.hex)

    def write_model(self, home: Home, runs: dict[str, str], outputs: dict[str, list[list[Any]]]) -> None:
        """What is said of the model, and the logged models of its project.

        `runs`: their names, by their ids; `outputs`: by a model's id, names and steps of the runs that named it.
        """
        experiment = self._server.experiment(home.ref.repository)
        self._write_words(home, told(pairs((experiment or {}).get("tags", []))))
        logged = home.folder / "logged-models"
        found = self._server.logged_models(experiment["experiment_id"]) if experiment else iter(())
        for number, model in enumerate(found, start=1):
            info, data = model["info"], model.get("data", {})
            folder = logged / str(number)
            self._write_files(folder, self._files_of(info["artifact_uri"]))
            record = {
                "name": info["name"],
                "model_type": info.get("model_type", ""),
                "run": runs.get(info.get("source_run_id", ""), ""),
                "created_at": info.get("creation_timestamp_ms"),
                "outputs": outputs.get(info["model_id"], []),
                "metrics": measures(data, runs),
                "failed": info.get("status") == FAILED,
                "tags": pairs(info.get("tags", [])),
                "params": pairs(data.get("params", [])),
            }
            write_json(folder / "model.json", record)

    def _write_words(self, home: Home, experiment_tags: dict[str, str]) -> None:
        model = self._server.model(home.ref.repository)
        versions = {}
        for one in self._server.versions(home.ref.repository) if model else []:
            if said := words(one):
                versions[f"v{one['version']}"] = said
        said = words(model) if model else {}
        if said or versions or experiment_tags:
            write_json(home.folder / "mlflow.json", {**said, "versions": versions, "experiment_tags": experiment_tags})

    def _files_of(self, uri: str) -> Iterator[tuple[str, str]]:
        root = uri.removeprefix(_PROXIED)
        for one in self._server.proxied_files(root):
            yield one["path"], self._server.address_proxied(f"{root}/{one['path']}")

    def _write_files(self, folder: Path, files: Iterator[tuple[str, str]]) -> None:
        """What came before is not fetched again, and what was refused then is asked for once more."""
        known = dict(read_digests(folder / DIGESTS)) if (folder / DIGESTS).is_file() else {}
        digests = []
        for path, address in files:
            if path in known:
                digests.append((path, known[path]))
                continue
            place = folder / FILES / path
            if not place.resolve().is_relative_to((folder / FILES).resolve()):
                raise InvalidInputError(f"The artifact {path!r} leads out of its folder.")
            try:
                save(self._server.transport, address, place)
            except (QuarantinedError, BeingScannedError, ForbiddenError) as refusal:
                self._left_out.append(f"{folder.parent.parent.name}, {folder.name}/{path}: {refusal}")
                continue
            digests.append((path, sha256_of_file(place)))
        if digests:
            with written(folder / DIGESTS) as file:
                file.writelines(digest_line(sha256, path) for path, sha256 in digests)
        else:
            shutil.rmtree(folder / FILES, ignore_errors=True)


def words(record: dict[str, Any]) -> dict[str, Any]:
    """What somebody has said of a registered model, or of a version; nothing where nobody has."""
    stage = record.get("current_stage") or _NO_STAGE
    said = {
        "description": record.get("description") or "",
        "tags": pairs(record.get("tags", [])),
        "stage": "" if stage == _NO_STAGE else stage,
    }
    return {key: value for key, value in said.items() if value}


def told(tags: Mapping[str, str]) -> dict[str, str]:
    """Those that somebody reads: most of MLflow's own say again what a record's fields say."""
    return {key: value for key, value in tags.items() if not key.startswith(_OWN_TAGS) or key in _TOLD}


def measures(data: Mapping[str, Any], runs: Mapping[str, str]) -> list[dict[str, Any]]:
    """What was measured of a logged model. `runs`: names instead of ids, where they are known."""
    found = [{key: value for key, value in one.items() if key in _MEASURE} for one in data.get("metrics", [])]
    return [{**one, "run_id": runs.get(one.get("run_id") or "", one.get("run_id") or "")} for one in found]


def pairs(found: list[dict[str, Any]]) -> dict[str, str]:
    return {one["key"]: str(one.get("value", "")) for one in found}
