"""An MLflow server's REST API, as much of it as a hand-over needs. Our own client: MLflow need not be installed.

What is asked is of version 2.0 of the API, which servers from 2.0 to 3.x answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from steelyard.transport import CHUNK, Transport
from steelyard_contracts.errors import InvalidInputError, NotFoundError, SteelyardError

_API = "/api/2.0/mlflow"
_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
_PAGE, _FEW = 200, 50
_MOST_POINTS = 25_000
_MOST_LEVELS = 30


class MLflowServer:
    """One server, by its address; a token is sent as a bearer token. `root`: the path that its API lies below."""

    def __init__(self, url: str, token: str | None, transport: Any = None, *, root: str = "") -> None:
        if urlsplit(url).scheme not in {"http", "https"}:
            raise InvalidInputError(f"{url!r} is no address of an MLflow server; write mlflow:http://host:5000#name.")
        self.transport: Transport = transport or Transport(url, token)
        self._root = root

    @classmethod
    def of_steelyard(cls, transport: Transport) -> MLflowServer:
        """What a Steelyard knows by way of MLflow's clients alone."""
        return cls(transport.url, None, transport, root="/mlflow")

    def models(self) -> Iterator[dict[str, Any]]:
        return self._pages("GET", "registered-models/search", "registered_models")

    def model(self, name: str) -> dict[str, Any] | None:
        """None for no such model."""
        return self._found("registered-models/get", "registered_model", name=name)

    def versions(self, name: str) -> list[dict[str, Any]]:
        """By number."""
        asked = f"name='{_quoted(name)}'"
        found = self._pages("GET", "model-versions/search", "model_versions", filter=asked)
        return sorted(found, key=lambda one: int(one["version"]))

    def is_registered(self, name: str) -> bool:
        """Whether it is listed: a model can be had by its name that nobody registered."""
        asked = f"name='{_quoted(name)}'"
        return any(True for _ in self._pages("GET", "registered-models/search", "registered_models", filter=asked))

    def download_uri(self, name: str, version: str) -> str:
        """Where a version's files lie."""
        found = self._call("GET", "model-versions/get-download-uri", {"name": name, "version": version})
        return str(found.get("artifact_uri") or "")

    def experiments(self) -> Iterator[dict[str, Any]]:
        return self._pages("POST", "experiments/search", "experiments", max_results=_PAGE)

    def experiment(self, name: str) -> dict[str, Any] | None:
        """None for no such experiment."""
        return self._found("experiments/get-by-name", "experiment", experiment_name=name)

    def runs(self, experiment: str) -> Iterator[dict[str, Any]]:
        """Oldest first."""
        order = ["attributes.start_time ASC"]
        query = {"experiment_ids": [experiment], "order_by": order, "max_results": _PAGE}
        return self._pages("POST", "runs/search", "runs", **query)

    def run(self, run: str) -> dict[str, Any] | None:
        return self._found("runs/get", "run", run_id=run)

    def needed_run(self, run: str) -> dict[str, Any]:
        """Raises: NotFoundError."""
        return dict(self._call("GET", "runs/get", {"run_id": run})["run"])

    def history(self, run: str, metric: str) -> Iterator[dict[str, Any]]:
        """Every point of a metric."""
        query = {"run_id": run, "metric_key": metric, "max_results": _MOST_POINTS}
        return self._pages("GET", "metrics/get-history", "metrics", **query)

    def logged_models(self, experiment: str) -> Iterator[dict[str, Any]]:
        """Oldest first. A server before MLflow 3 has none."""
        order = [{"field_name": "creation_timestamp", "ascending": True}]
        query = {"experiment_ids": [experiment], "order_by": order, "max_results": _FEW}
        with suppress(NotFoundError):
            yield from self._pages("POST", "logged-models/search", "models", **query)

    def tell(self, method: str, what: str, body: dict[str, Any]) -> dict[str, Any]:
        """A change. Raises: SteelyardError as the server said."""
        return dict(self.transport.call(method, f"{self._root}{_API}/{what}", body=body) or {})

    def put(self, path: str, file: Path) -> None:
        """A file into the server's own artifact store. Raises: SteelyardError."""
        address = f"{self.transport.url}{self.address_proxied(path)}"
        headers = {"Content-Type": "application/octet-stream", "Authorization": f"Bearer {self.transport.token}"}
        with file.open("rb") as opened:

            def content() -> Iterator[bytes]:
                opened.seek(0)
                return iter(partial(opened.read, CHUNK), b"")

            self.transport.exchange("PUT", address, content, size=file.stat().st_size, headers=headers)

    def files_of_run(self, run: str, folder: str = "", level: int = 0) -> Iterator[dict[str, Any]]:
        """Its artifacts' paths and sizes, through all folders."""
        for one in self._pages("GET", "artifacts/list", "files", run_id=run, path=folder):
            if not one.get("is_dir"):
                yield one
            elif level < _MOST_LEVELS:
                yield from self.files_of_run(run, one["path"], level + 1)

    def proxied_files(self, root: str, folder: str = "", level: int = 0) -> Iterator[dict[str, Any]]:
        """The same below a path of the server's own artifact store; paths are relative to `root`."""
        asked = "/".join(part for part in (root, folder) if part)
        for one in self.transport.call("GET", f"{self._root}{_ARTIFACTS}", query={"path": asked}).get("files", []):
            path = "/".join(part for part in (folder, one["path"]) if part)
            if not one.get("is_dir"):
                yield {**one, "path": path}
            elif level < _MOST_LEVELS:
                yield from self.proxied_files(root, path, level + 1)

    def address_in_run(self, run: str, path: str) -> str:
        return f"{self._root}/get-artifact?run_uuid={quote(run, safe='')}&path={quote(path, safe='')}"

    def address_proxied(self, path: str) -> str:
        return f"{self._root}{_ARTIFACTS}/{quote(path)}"

    def _found(self, what: str, field: str, **query: str) -> dict[str, Any] | None:
        try:
            return dict(self._call("GET", what, query)[field])
        except NotFoundError:
            return None
        except SteelyardError as error:
            if "answered 400" in str(error):  # no name that such a thing can have
                return None
            raise

    def _pages(self, method: str, what: str, field: str, **query: Any) -> Iterator[dict[str, Any]]:
        token = ""
        while True:
            asked = {**query, "page_token": token} if token else query
            found = self._call(method, what, asked)
            yield from found.get(field, [])
            token = str(found.get("next_page_token") or "")
            if not token:
                return

    def _call(self, method: str, what: str, asked: dict[str, Any]) -> dict[str, Any]:
        given: dict[str, Any] = {"query": asked} if method == "GET" else {"body": asked}
        try:
            found = self.transport.call(method, f"{self._root}{_API}/{what}", **given)
        except (ValueError, TypeError) as error:
            raise InvalidInputError(f"{self.transport.url} does not answer as an MLflow server does.") from error
        except SteelyardError as error:
            if "answered 401" in str(error) or "answered 403" in str(error):
                raise InvalidInputError(f"{error} Give a token that may read there: --source-token.") from error
            raise
        return dict(found or {})


def _quoted(name: str) -> str:
    return name.replace("\\", "\\\\").replace("'", "\\'")
