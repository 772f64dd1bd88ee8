"""Archives for a dataset, over real servers and a real worker: what comes of them, and what stays as it was."""

from __future__ import annotations

import json
import urllib.request
import zipfile

import pytest

import steelyard
from steelyard_contracts.jobs import JobState

pytestmark = pytest.mark.end_to_end


@pytest.fixture
def hub(installation):
    with steelyard.connect(installation.url, installation.token, quiet=True) as client:
        yield client


@pytest.fixture
def ingest(installation, hub, tmp_path):
    """Makes `lab/unpacked`; sends files, or bytes that are none, as a zip: the job when it has ended."""
    headers = {"Authorization": f"Bearer {installation.token}", "Content-Type": "application/json"}

    def call(path, body):
        request = urllib.request.Request(
            f"{installation.url}/ultralytics/api/{path}", json.dumps(body).encode(), headers
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    made = call("datasets", {"owner": "lab", "dataset": "unpacked", "name": "unpacked"})

    def send(files, policy):
        archive = tmp_path / "a.zip"
        if isinstance(files, bytes):
            archive.write_bytes(files)
        else:
            with zipfile.ZipFile(archive, "w") as opened:
                for name, content in files.items():
                    opened.writestr(name, content)
        signed = call("upload/signed-url", {"assetType": "datasets", "assetId": made["id"], "filename": "a.zip"})
        put = urllib.request.Request(signed["uploadUrl"], archive.read_bytes(), method="PUT")
        urllib.request.urlopen(put).close()
        body = {"sessionId": signed["sessionId"], "conflictPolicy": policy}
        return hub.wait(call("datasets/lab/unpacked/ingest", body)["jobId"])

    return send


def test_archives_add_to_a_dataset_and_a_broken_one_leaves_it_as_it_was(ingest, hub, tmp_path):
    def there(name):
        folder = hub.pull("datasets:/lab/unpacked", tmp_path / name)
        found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        return {name: content for name, content in found.items() if name != ".gitattributes"}

    first = ingest({"train/a/0.png": b"one", "train/b/0.png": b"two"}, "skip")
    assert (first.state, first.result) == (
        JobState.SUCCEEDED,
        {"version": "v1", "files": 2, "left_out": 0, "kept": 0},
    )
    kept = ingest({"train/a/0.png": b"changed", "train/a/1.png": b"three"}, "skip")
    assert (kept.result["version"], kept.result["files"], kept.result["kept"]) == ("v2", 1, 1)
    assert there("kept") == {"train/a/0.png": b"one", "train/a/1.png": b"three", "train/b/0.png": b"two"}
    nothing = ingest({"train/a/0.png": b"changed"}, "skip")
    assert (nothing.state, nothing.result) == (JobState.SUCCEEDED, {"files": 0, "left_out": 0, "kept": 1})
    replaced = ingest({"train/a/0.png": b"changed"}, "replace")
    assert replaced.result["version"] == "v3"
    assert there("replaced")["train/a/0.png"] == b"changed"
    broken = ingest(b"no archive", "replace")
    assert (broken.state, broken.error) == (
        JobState.FAILED,
        "a.zip cannot be read as an archive: File is not a zip file.",
    )
    assert next(iter(hub.versions("datasets:/lab/unpacked"))).version == "v3"
