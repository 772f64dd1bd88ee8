"""MLflow's client by hand: requests in the shapes that it sends."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from django.test import Client

from tests.support.factories import make_team, make_user, token_for

API = "/mlflow/api/2.0/mlflow/"
ARTIFACTS = "/mlflow/api/2.0/mlflow-artifacts/"


@dataclass
class Speaker:
    """Somebody with a token. `post` and `get` want an answer; `refused` wants a refusal, and returns it."""

    client: Client
    token: str
    name: str

    def send(self, method: str, path: str, body: Any = None, /, **query: Any) -> Any:
        address = path if path.startswith("/") else API + path
        headers = {"Authorization": f"Bearer {self.token}"}
        if method == "GET":
            return self.client.get(address, query, headers=headers)
        data = body if isinstance(body, bytes) else json.dumps(body or {})
        return self.client.generic(method, address, data, content_type="application/json", headers=headers)

    def post(self, path: str, /, **body: Any) -> Any:
        return self._good(self.send("POST", path, body))

    def get(self, path: str, /, **query: Any) -> Any:
        return self._good(self.send("GET", path, **query))

    def call(self, method: str, path: str, /, **body: Any) -> Any:
        return self._good(self.send(method, path, body))

    def refused(self, method: str, path: str, /, **body: Any) -> tuple[int, str, str]:
        answer = self.send(method, path, **body) if method == "GET" else self.send(method, path, body)
        assert answer.status_code >= 400, answer.content
        return answer.status_code, answer.json()["error_code"], answer.json()["message"]

    def put(self, uri: str, path: str, data: bytes) -> Any:
        """A file below an artifact_uri."""
        return self.send("PUT", self.address(uri, path), data)

    def read(self, uri: str, path: str) -> Any:
        return self.send("GET", self.address(uri, path))

    @staticmethod
    def address(uri: str, path: str) -> str:
        return f"{ARTIFACTS}artifacts/{uri.removeprefix('mlflow-artifacts:/')}/{path}"

    def experiment(self, name: str, **more: Any) -> str:
        return str(self.post("experiments/create", name=name, **more)["experiment_id"])

    def run(self, experiment: str, **more: Any) -> Any:
        return self.post("runs/create", experiment_id=experiment, start_time=1_700_000_000_000, **more)["run"]

    @staticmethod
    def _good(answer: Any) -> Any:
        assert answer.status_code == 200, answer.content
        return answer.json()


@pytest.fixture
def ada(client):
    """Her own team is `ada`; she also administers `lab`."""
    user = make_user("ada")
    make_team(user, "lab")
    return Speaker(client, token_for(user), "ada")


@pytest.fixture
def eve(client):
    """A stranger to everybody."""
    return Speaker(client, token_for(make_user("eve")), "eve")


@pytest.fixture
def run(ada):
    return ada.run(ada.experiment("digits"))


def content(answer: Any) -> bytes:
    return b"".join(answer.streaming_content) if answer.streaming else answer.content


def pairs(found: list[dict[str, Any]]) -> dict[str, Any]:
    return {one["key"]: one["value"] for one in found}
