"""A training as its client reports it, request by request, in the shapes of Ultralytics 8.4."""

from __future__ import annotations

import json
from typing import Any

import pytest

from steelyard_platform.jobs.models import Job
from tests.support.factories import make_user, token_for

ROOT = "/ultralytics/api/webhooks"
ARGUMENTS = {
    "task": "detect",
    "mode": "train",
    "model": "yolo11n.yaml",
    "data": "shapes.yaml",
    "epochs": "2",
    "imgsz": "64",
    "lr0": "0.01",
    "resume": "False",
    "pretrained": "True",
    "save_dir": "/home/ada/runs/detect/exp1",
}
ENVIRONMENT = {
    "ultralyticsVersion": "8.4.190",
    "hostname": "bench-1",
    "os": "Linux-6.1",
    "pythonVersion": "3.11.7",
    "cpuCount": 2,
    "command": "yolo train",
    "totalRamGb": 7.8,
    "gitRepository": "https://ada:secret@git.example.org/vision.git",
    "gitBranch": "main",
    "gitCommit": "0123456789ab",
}


class Training:
    """Posts what the client would; `answer` is what it heard last."""

    def __init__(self, client, token: str, project: str, name: str) -> None:
        self.client, self.token, self.project, self.name = client, token, project, name
        self.run_id: str | None = None

    def send(self, event: str, data: dict[str, Any], *, run_id: str | None = None):
        body = {"event": event, "project": self.project, "name": self.name, "data": data}
        if known := run_id or self.run_id:
            body["modelId"] = known
        return self.post("training/metrics", body)

    def post(self, path: str, body):
        data = body if isinstance(body, bytes) else json.dumps(body)
        headers = {"HTTP_AUTHORIZATION": f"Bearer {self.token}"}
        return self.client.post(f"{ROOT}/{path}", data, content_type="application/json", **headers)

    def ask(self, path: str):
        """What the client asks of a `ul://` address."""
        return self.client.head(f"{ROOT}/{path}", HTTP_AUTHORIZATION=f"Bearer {self.token}")

    def start(self, **arguments: str) -> dict[str, Any]:
        self.run_id = None
        response = self.send("training_started", self.start_of(**arguments))
        assert response.status_code == 200, response.content
        answer: dict[str, Any] = response.json()
        self.run_id = answer["modelId"]
        return answer

    def start_of(self, **arguments: str) -> dict[str, Any]:
        return {
            "trainArgs": {**ARGUMENTS, **arguments},
            "epochs": 2,
            "device": "cpu",
            "environment": ENVIRONMENT,
        }

    def epoch(self, number: int, **metrics: float):
        data = {
            "epoch": number,
            "metrics": {"train/box_loss": 3.0 - number, "metrics/mAP50(B)": 0.25 * (number + 1), **metrics},
            "system": {"cpu": 71.0, "ram": 40.5, "disk": {"used": 12.0}, "gpus": {}},
            "fitness": 0.1 * number,
            "best_fitness": 0.1 * number,
        }
        return self.send("epoch_end", data)

    def console(self, chunk: int, content: str):
        return self.send("console_output", {"chunkId": chunk, "content": content, "lineCount": content.count("\n") + 1})

    def upload(self, data: bytes, filename: str = "best.pt") -> str:
        """PUTs a file as the client does; what names it when the training is complete."""
        body = {"project": self.project, "name": self.name, "filename": filename, "modelId": self.run_id}
        promised = self.post("models/upload", body)
        assert promised.status_code == 200, promised.content
        answer = promised.json()
        put = self.put(answer["uploadUrl"], data)
        assert put.status_code == 200, put.content
        return str(answer["gcsPath"])

    def put(self, address: str, data: bytes):
        path = address.removeprefix("http://testserver")
        return self.client.generic("PUT", path, data, content_type="application/octet-stream")

    def complete(self, path: str | None, **metrics: float):
        results = {
            "metrics": {"metrics/mAP50(B)": 0.5, "metrics/mAP50-95(B)": 0.25, "fitness": 0.275, **metrics},
            "bestEpoch": 1,
            "bestFitness": 0.275,
            "modelPath": path,
            "modelSize": 10,
        }
        plots = [{"type": "pr_curve", "names": ["cat"], "x": [0, 1], "y": [[1, 0]], "ap": [0.5]}]
        return self.send("training_complete", {"results": results, "classNames": ["cat", "dog"], "plots": plots})

    @property
    def run(self) -> Job:
        return Job.objects.select_related("run__project__team", "team").get(pk=str(self.run_id))


@pytest.fixture
def training(client, owner, team):
    return Training(client, token_for(owner), f"{team}/shelf", "exp1")


@pytest.fixture
def another(client, owner, team):
    """Another training with the same project and name."""
    return Training(client, token_for(owner), f"{team}/shelf", "exp1")


@pytest.fixture
def stranger(client, team):
    """Somebody outside the team, who reports to its project."""
    return Training(client, token_for(make_user()), f"{team}/shelf", "exp1")
