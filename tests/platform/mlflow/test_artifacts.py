"""Files of runs and logged models: kept, listed, read, replaced; by a stream and in parts."""

from __future__ import annotations

import html
import pickle
import re
from datetime import timedelta
from urllib.parse import urlsplit

import pytest

from steelyard_contracts.weights import Finding, Severity
from steelyard_platform.accounts.models import Team, User
from steelyard_platform.accounts.permissions import OPERATOR, Role
from steelyard_platform.accounts.services import set_role
from steelyard_platform.jobs.models import Job
from steelyard_platform.mlflow.models import RunFile
from steelyard_platform.repos import receiving
from steelyard_platform.repos.garbage import collect_garbage
from steelyard_platform.repos.models import Blob
from steelyard_platform.weights.models import WeightFile
from tests.platform.mlflow.conftest import ARTIFACTS, Speaker, content
from tests.support.factories import make_user, token_for

pytestmark = pytest.mark.django_db


@pytest.fixture
def uri(ada):
    return ada.run(ada.experiment("lab/digits"))["info"]["artifact_uri"]


@pytest.fixture
def reader(client, ada):
    bob = Speaker(client, token_for(make_user("bob")), "bob")
    set_role(team=Team.objects.get(name="lab"), username="bob", role=Role.READER, actor=OPERATOR)
    return bob


def listed(speaker, uri, folder=""):
    path = f"{uri.removeprefix('mlflow-artifacts:/')}/{folder}".rstrip("/")
    found = speaker.get(f"{ARTIFACTS}artifacts", path=path)["files"]
    return {one["path"]: one.get("file_size") for one in found}


def test_a_file_comes_back_as_it_went(ada, uri):
    assert ada.put(uri, "a/b c/notes.txt", b"hello").json() == {}
    answer = ada.read(uri, "a/b c/notes.txt")
    assert (answer.status_code, content(answer)) == (200, b"hello")
    assert ada.put(uri, "a/b c/notes.txt", b"other").status_code == 200
    assert content(ada.read(uri, "a/b c/notes.txt")) == b"other"
    missing = ada.read(uri, "a/none.txt")
    assert (missing.status_code, missing.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")


def test_the_runs_page_lists_its_files_and_leads_to_them(client, ada, uri):
    ada.put(uri, "notes/ä b.txt", b"hello")
    client.force_login(User.objects.get(username=ada.name))
    page = client.get(f"/jobs/{Job.objects.get(kind='run').pk}").content.decode()
    assert "notes/ä b.txt" in page
    [address] = map(html.unescape, re.findall(r'href="(/mlflow/get-artifact[^"]+)"', page))
    assert content(client.get(address)) == b"hello"


def test_a_large_file_is_stored_as_an_object_of_its_own(ada, uri, monkeypatch):
    monkeypatch.setattr(receiving, "SMALL_BYTES", 10)
    data = bytes(range(256)) * 10
    ada.put(uri, "weights.bin", data)
    assert content(ada.read(uri, "weights.bin")) == data
    blob = Blob.objects.get()
    assert (blob.size, blob.object_key.partition("/")[0]) == (len(data), "blobs")
    part = ada.client.get(
        ada.address(uri, "weights.bin"), HTTP_RANGE="bytes=5-9", HTTP_AUTHORIZATION=f"Bearer {ada.token}"
    )
    assert (part.status_code, content(part)) == (206, data[5:10])


def test_folders_are_listed_once_and_page_by_page(ada, uri, monkeypatch):
    from steelyard_platform.mlflow import artifacts

    monkeypatch.setattr(artifacts, "PAGE", 2)
    for path in ("a.txt", "d/1.txt", "d/2.txt", "d/e/3.txt", "z/4.txt", "zz.txt"):
        ada.put(uri, path, path.encode())
    assert listed(ada, uri) == {"a.txt": 5, "d": None, "z": None, "zz.txt": 6}
    assert listed(ada, uri, "d") == {"1.txt": 7, "2.txt": 7, "e": None}
    assert listed(ada, uri, "nothing") == {}
    run_id = uri.split("/")[2]
    first = ada.get("artifacts/list", run_id=run_id)
    assert first["root_uri"] == uri
    assert [one["path"] for one in first["files"]] == ["a.txt", "d"]
    second = ada.get("artifacts/list", run_id=run_id, page_token=first["next_page_token"])
    assert [one["path"] for one in second["files"]] == ["z", "zz.txt"]
    below = ada.get("artifacts/list", run_id=run_id, path="d/e")["files"]
    assert below == [{"path": "d/e/3.txt", "is_dir": False, "file_size": 9}]


def test_what_cannot_lie_there_is_refused(ada, uri):
    ada.put(uri, "d/1.txt", b"x")
    assert "is a folder" in ada.put(uri, "d", b"x").json()["message"]
    assert "nothing can lie below it" in ada.put(uri, "d/1.txt/2", b"x").json()["message"]
    for path in ("../out", "d/../../x", "a\\b"):
        answer = ada.put(uri, path, b"x")
        assert answer.status_code in {400, 404}, path
    refused = ada.refused("GET", "artifacts/list", run_id=uri.split("/")[2], path="../path")
    assert refused == (400, "INVALID_PARAMETER_VALUE", "Invalid path")
    assert ada.put("mlflow-artifacts:/0", "x", b"").status_code == 404


def test_files_and_folders_are_deleted(ada, uri):
    for path in ("d/1.txt", "d/2.txt", "e.txt"):
        ada.put(uri, path, b"x")
    ada.call("DELETE", ada.address(uri, "d"))
    assert listed(ada, uri) == {"e.txt": 1}


def test_what_a_run_holds_is_not_collected_and_what_it_gave_up_is(ada, uri):
    ada.put(uri, "a.txt", b"kept")
    ada.put(uri, "b.txt", b"given up")
    ada.call("DELETE", ada.address(uri, "b.txt"))
    collect_garbage(timedelta(seconds=-1))
    assert content(ada.read(uri, "a.txt")) == b"kept"
    assert Blob.objects.count() == 1


def test_a_file_in_parts_is_there_once_it_is_complete(ada, uri):
    folder = f"{uri.removeprefix('mlflow-artifacts:/')}/deep"
    body = {"path": "/home/ada/weights.bin", "num_parts": 2}
    made = ada.call("POST", f"{ARTIFACTS}mpu/create/{folder}", **body)
    parts = []
    for credential, data in zip(made["credentials"], (b"first ", b"second"), strict=True):
        address = urlsplit(credential["url"])
        answer = ada.client.put(f"{address.path}?{address.query}", data, content_type="application/octet-stream")
        parts.append({"part_number": credential["part_number"], "etag": answer.headers["ETag"]})
    assert not RunFile.objects.exists()
    done = {"path": body["path"], "upload_id": made["upload_id"], "parts": parts}
    ada.call("POST", f"{ARTIFACTS}mpu/complete/{folder}", **done)
    assert content(ada.read(uri, "deep/weights.bin")) == b"first second"
    assert ada.refused("POST", f"{ARTIFACTS}mpu/complete/{folder}", **done)[0] == 400


def test_an_upload_in_parts_can_be_given_up_and_is_nobody_elses(ada, eve, uri):
    folder = uri.removeprefix("mlflow-artifacts:/")
    made = ada.call("POST", f"{ARTIFACTS}mpu/create/{folder}", path="w.bin", num_parts=1)
    told = {"path": "w.bin", "upload_id": made["upload_id"]}
    assert eve.refused("POST", f"{ARTIFACTS}mpu/abort/{folder}", **told)[0] == 404
    assert ada.refused("POST", f"{ARTIFACTS}mpu/complete/{folder}", path="w.bin", upload_id="x", parts=[])[0] == 403
    ada.call("POST", f"{ARTIFACTS}mpu/abort/{folder}", **told)
    assert ada.refused("POST", f"{ARTIFACTS}mpu/create/{folder}", path="w.bin", num_parts=0)[0] == 400


def test_strangers_find_no_artifacts_and_readers_write_none(ada, eve, reader, uri):
    ada.put(uri, "a.txt", b"x")
    assert eve.read(uri, "a.txt").status_code == 404
    assert eve.put(uri, "b.txt", b"x").status_code == 404
    assert content(reader.read(uri, "a.txt")) == b"x"
    assert reader.put(uri, "b.txt", b"x").status_code == 403


def test_what_nobody_has_scanned_is_for_those_who_may_write(ada, reader, uri):
    pickled = pickle.dumps({"a": 1})
    for path in ("model.pkl", "disguised.txt"):
        ada.put(uri, path, pickled)
        assert content(ada.read(uri, path)) == pickled
        answer = reader.read(uri, path)
        assert (answer.status_code, answer.json()["error_code"]) == (403, "PERMISSION_DENIED")
        assert "nobody has scanned it" in answer.json()["message"]


def test_what_the_scan_called_dangerous_is_for_those_who_may_write(ada, reader, uri):
    ada.put(uri, "model.pkl", b"danger")
    finding = Finding(code="pickle-import", severity=Severity.DANGER, sentence="It imports os.system.")
    WeightFile.objects.create(
        blob=Blob.objects.get(), format="pickle", findings=[finding.model_dump(mode="json")], has_danger=True
    )
    assert content(ada.read(uri, "model.pkl")) == b"danger"
    assert "is in quarantine: It imports os.system." in reader.read(uri, "model.pkl").json()["message"]
    WeightFile.objects.update(has_danger=False, findings=[])
    assert content(reader.read(uri, "model.pkl")) == b"danger"


def test_a_logged_model_has_files_of_its_own(ada, eve):
    key = ada.experiment("digits")
    made = ada.post("logged-models", experiment_id=key, name="net", params=[{"key": "p", "value": "1"}])["model"]
    info = made["info"]
    assert (info["status"], info["name"]) == ("LOGGED_MODEL_PENDING", "net")
    ada.put(info["artifact_uri"], "MLmodel", b"flavors: {}")
    ready = ada.call("PATCH", f"logged-models/{info['model_id']}", status="LOGGED_MODEL_READY")["model"]
    assert ready["info"]["status"] == "LOGGED_MODEL_READY"
    found = ada.get(f"logged-models/{info['model_id']}/artifacts/directories")["files"]
    assert found == [{"path": "MLmodel", "is_dir": False, "file_size": 11}]
    assert content(ada.read(info["artifact_uri"], "MLmodel")) == b"flavors: {}"
    assert eve.refused("GET", f"logged-models/{info['model_id']}")[0] == 404
    assert eve.read(info["artifact_uri"], "MLmodel").status_code == 404


def test_logged_models_are_found_by_what_was_measured_of_them(ada):
    key = ada.experiment("digits")
    run_id = ada.run(key)["info"]["run_id"]
    ids = [ada.post("logged-models", experiment_id=key)["model"]["info"]["model_id"] for _ in range(2)]
    told = {"key": "f1", "value": 0.5, "timestamp": 5, "step": 1, "dataset_name": "d", "dataset_digest": "x"}
    ada.post("runs/log-metric", run_id=run_id, model_id=ids[0], **told)
    ada.call("PATCH", f"logged-models/{ids[1]}/tags", tags=[{"key": "t", "value": "1"}])

    def search(**more):
        found = ada.post("logged-models/search", experiment_ids=[key], **more)
        return [one["info"]["model_id"] for one in found["models"]]

    assert search() == ids[::-1]
    assert search(filter="metrics.f1 >= 0.5") == [ids[0]]
    assert search(filter="tags.t = '1'") == [ids[1]]
    assert search(datasets=[{"dataset_name": "d", "dataset_digest": "x"}]) == [ids[0]]
    assert search(order_by=[{"field_name": "creation_timestamp", "ascending": True}]) == ids
    page = ada.post("logged-models/search", experiment_ids=[key], max_results=1)
    assert page["next_page_token"]
    [measured] = ada.get(f"logged-models/{ids[0]}")["model"]["data"]["metrics"]
    assert measured == {**told, "model_id": ids[0], "run_id": run_id}
    ada.call("DELETE", f"logged-models/{ids[0]}")
    assert "not found" in ada.refused("GET", f"logged-models/{ids[0]}")[2]
    assert search() == [ids[1]]
