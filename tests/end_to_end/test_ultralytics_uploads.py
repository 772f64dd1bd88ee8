"""Checkpoints as releases of the Ultralytics client put them on the wire: the length said twice, the bytes plain."""

from __future__ import annotations

import json
import socket
import urllib.request

import pytest

pytestmark = pytest.mark.end_to_end


def post(installation, path, body):
    request = urllib.request.Request(
        f"{installation.url}/ultralytics/api/webhooks/{path}",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {installation.token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def put(installation, address, data, *more):
    """The answer's first line, and whether the server closed the connection."""
    path = address.removeprefix(installation.url)
    head = [f"PUT {path} HTTP/1.1", f"Host: 127.0.0.1:{installation.port}", f"Content-Length: {len(data)}", *more]
    with socket.create_connection(("127.0.0.1", installation.port), timeout=30) as connection:
        connection.sendall("\r\n".join([*head, "", ""]).encode() + data)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer.split(b"\r\n", 1)[0].decode()


def test_a_checkpoint_whose_length_is_said_twice_arrives_whole(installation, hub):
    named = {"project": "lab/framed", "name": "exp1"}
    run = post(installation, "training/metrics", {**named, "event": "training_started", "data": {"epochs": 1}})
    promised = post(installation, "models/upload", {**named, "modelId": run["modelId"], "filename": "best.pt"})
    data = b"0\r\n\r\nGET /healthz HTTP/1.1\r\n\r\n" * 50_000  # chunks, to whoever reads them so
    assert put(installation, promised["uploadUrl"], data, "Transfer-Encoding: chunked") == "HTTP/1.1 200 OK"
    assert hub.version("lab/framed@runs/exp1").size == len(data)


def test_elsewhere_such_a_request_is_refused(installation):
    address = f"{installation.url}/ultralytics/api/webhooks/training/metrics"
    assert put(installation, address, b"{}", "Transfer-Encoding: chunked").startswith("HTTP/1.1 400")
