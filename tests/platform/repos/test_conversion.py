"""Files that came whole are stored by chunks afterwards; their readers notice nothing, and nothing is lost."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from django.conf import settings
from django.utils import timezone

from steelyard_contracts.digests import sha256_of
from steelyard_contracts.errors import UnavailableError
from steelyard_platform.repos.blobs import accept_staged, staging_key
from steelyard_platform.repos.conversion import convert_waiting
from steelyard_platform.repos.garbage import collect_garbage
from steelyard_platform.repos.models import Blob, WholeFile
from steelyard_platform.storage.models import XetFile, Xorb
from steelyard_platform.storage.services import object_store
from tests.contracts.xet.test_cutting import checkpoint, safetensors, tensors
from tests.platform.hub.test_xet import Uploader, content
from tests.platform.repos.test_garbage import GRACE, objects

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada(client):
    return Uploader(client)


def push_whole(uploader, path, data):
    object_store().put(staging_key(uploader.repository, sha256_of(data)), [data])
    accept_staged(uploader.repository, sha256=sha256_of(data), size=len(data))
    assert uploader.commit(path, sha256_of(data), len(data)).status_code == 200
    return Blob.objects.get(pk=sha256_of(data))


def after_addresses_expired():
    seconds = settings.ENVIRONMENT.signed_url_seconds + 1
    return time_machine.travel(timezone.now() + timedelta(seconds=seconds), tick=True)


@pytest.mark.parametrize("data", [safetensors(tensors()), b"no weights " * 50_000], ids=["weights", "other"])
def test_a_whole_file_becomes_chunks_and_the_object_goes(ada, data):
    blob = push_whole(ada, "w.bin", data)
    before = content(ada.resolve("w.bin"))
    assert convert_waiting() == 1
    blob.refresh_from_db()
    assert (blob.object_key, blob.xet.sha256) == ("", sha256_of(data))
    assert content(ada.resolve("w.bin")) == before == data
    assert content(ada.resolve("w.bin", HTTP_RANGE="bytes=1000-140000")) == data[1000:140001]
    assert objects() == ["blobs", "xorbs"]  # an address that was given out is valid for a while
    with after_addresses_expired():
        assert convert_waiting() == 0
    assert objects() == ["xorbs"]
    with time_machine.travel(timezone.now() + timedelta(hours=72), tick=True):
        assert collect_garbage(GRACE).blobs == 0
    assert content(ada.resolve("w.bin")) == data


def test_a_fine_tune_and_a_checkpoint_of_the_same_tensors_cost_what_is_new(ada):
    base, tuned, twin = safetensors(tensors()), safetensors(tensors(head="other")), checkpoint(tensors())
    sizes = []
    for number, data in enumerate((base, tuned, twin)):
        push_whole(ada, f"{number}.bin", data)
        convert_waiting()
        sizes.append(sum(Xorb.objects.values_list("size", flat=True)))
    assert sizes[1] - sizes[0] < 45_000
    assert sizes[2] - sizes[1] < 5_000


def test_a_file_that_is_damaged_stays_whole_and_does_not_hold_up_the_others(ada):
    blob = push_whole(ada, "w.bin", safetensors(tensors()))
    sound = push_whole(ada, "sound.bin", safetensors(tensors(1)))
    path = settings.ENVIRONMENT.var / "objects" / blob.object_key
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    convert_waiting()
    blob.refresh_from_db()
    sound.refresh_from_db()
    assert (blob.xet, sound.object_key) == (None, "")
    assert [row.blob for row in WholeFile.objects.all()] == [blob]
    assert XetFile.objects.count() == 1
    assert WholeFile.objects.get().attempts == 5


def test_a_store_that_cannot_be_reached_costs_no_attempt(ada, monkeypatch):
    push_whole(ada, "w.bin", safetensors(tensors()))

    def unreachable(*_args, **_kwargs):
        raise UnavailableError("The store cannot be reached.")

    with monkeypatch.context() as patch:
        patch.setattr(type(object_store()), "read", unreachable)
        assert convert_waiting() == 0
    assert WholeFile.objects.get().attempts == 0
    assert convert_waiting() == 1


def test_one_process_converts_at_a_time_and_another_goes_on_when_it_died(ada):
    push_whole(ada, "w.bin", safetensors(tensors()))
    WholeFile.objects.update(claimed_until=timezone.now() + timedelta(minutes=10))
    assert convert_waiting() == 0
    with time_machine.travel(timezone.now() + timedelta(minutes=11), tick=True):
        assert convert_waiting() == 1


def test_every_team_that_sent_the_file_keeps_it(ada, client):
    grace = Uploader(client)
    data = safetensors(tensors())
    for one in (ada, grace):
        push_whole(one, "w.bin", data)
    convert_waiting()
    push_whole(Uploader(client), "w.bin", data)  # after the conversion
    for one in (ada, grace):
        assert content(one.resolve("w.bin")) == data
    assert grace.commit("again.bin", sha256_of(data), len(data)).status_code == 200
    with after_addresses_expired():
        convert_waiting()
    assert objects() == ["xorbs"]
