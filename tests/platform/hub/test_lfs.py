"""Whole-file uploads: what need not be sent again."""

from __future__ import annotations

import hashlib
import json

import pytest

from steelyard_contracts.errors import UnavailableError
from steelyard_platform.repos import blobs
from steelyard_platform.repos.blobs import staging_key
from steelyard_platform.storage.services import object_store
from tests.platform.hub.test_xet import Uploader, content

pytestmark = pytest.mark.django_db
DATA = b"weights" * 1000
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def ada(client):
    return Uploader(client)


def batch(uploader):
    """What the client is told to do for the file; None: nothing, it is there."""
    body = {"operation": "upload", "objects": [{"oid": SHA256, "size": len(DATA)}]}
    answer = uploader.client.post(
        f"/{uploader.repository}.git/info/lfs/objects/batch",
        json.dumps(body),
        content_type="application/json",
        HTTP_AUTHORIZATION=f"Bearer {uploader.hub_token}",
    )
    [told] = answer.json()["objects"]
    return told.get("actions")


def stage(uploader, data):
    object_store().put(staging_key(uploader.repository, SHA256), [data])


def test_what_had_arrived_whole_before_a_push_broke_off_is_not_asked_for_again(ada):
    assert batch(ada) is not None
    stage(ada, DATA)
    assert batch(ada) is None
    assert ada.commit("w.bin", SHA256, len(DATA)).status_code == 200
    assert content(ada.resolve("w.bin")) == DATA


def test_what_had_arrived_in_another_size_is_asked_for_again(ada):
    stage(ada, DATA[:-1])
    assert batch(ada) is not None


def test_what_had_arrived_damaged_is_refused_at_the_commit_and_then_asked_for_again(ada):
    stage(ada, DATA[::-1])
    assert batch(ada) is None
    assert ada.commit("w.bin", SHA256, len(DATA)).status_code == 400
    assert batch(ada) is not None


def test_a_file_that_was_checked_and_could_not_be_noted_need_not_be_sent_again(ada, monkeypatch):
    stage(ada, DATA)

    def fails(_key):
        raise UnavailableError("The store went away.")

    with monkeypatch.context() as patch:
        patch.setattr(blobs, "spare", fails)
        assert ada.commit("w.bin", SHA256, len(DATA)).status_code == 503
    assert batch(ada) is None
    assert ada.commit("w.bin", SHA256, len(DATA)).status_code == 200
    assert content(ada.resolve("w.bin")) == DATA
    assert list(object_store().list_objects("staging/")) == []


def test_what_waits_for_another_repository_says_nothing(ada, client):
    stage(ada, DATA)
    assert batch(Uploader(client, team=ada.repository.team, owner=ada.owner, name="other")) is not None
