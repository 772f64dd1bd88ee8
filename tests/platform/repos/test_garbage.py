"""Garbage collection: what no version holds goes, nothing else does, and it says beforehand what it would free."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from django.conf import settings
from django.core.management import call_command
from django.db import transaction
from django.utils import timezone

from steelyard_contracts.errors import UnavailableError
from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.repos import services
from steelyard_platform.repos.blobs import staging_key
from steelyard_platform.repos.garbage import collect_garbage
from steelyard_platform.repos.models import Blob
from steelyard_platform.storage import garbage
from steelyard_platform.storage.garbage import Freed
from steelyard_platform.storage.models import DoomedObject, TransferReport, XetFile, Xorb
from steelyard_platform.storage.services import object_store
from tests.platform.hub.test_xet import CHUNKS, WHOLE, Uploader, content, first_chunk
from tests.support.factories import commit_files, empty_trash
from tests.support.xet import file_of, shard_of, xorb_of

pytestmark = pytest.mark.django_db
GRACE = timedelta(hours=48)


def later(hours=72):
    return time_machine.travel(timezone.now() + timedelta(hours=hours), tick=True)


def objects():
    return sorted(info.key.partition("/")[0] for info in object_store().list_objects(""))


@pytest.fixture
def ada(client):
    return Uploader(client)


def delete(uploader):
    """For good."""
    services.delete_repository(repository=uploader.repository, actor=actor_for_user(uploader.owner))
    empty_trash(uploader.owner)


def test_a_deleted_repositorys_bytes_go_after_the_grace_period(ada):
    ada.push("w.bin", *CHUNKS)
    commit_files(ada.repository, ada.owner, {"README.md": b"words"})
    with later():
        assert collect_garbage(GRACE).objects.objects == 0  # it is old, and held
        delete(ada)
        assert collect_garbage(GRACE).objects.objects == 0  # nobody holds it, since a moment ago
        assert objects() == ["packs", "xorbs"]
    with later(144):
        foreseen = collect_garbage(GRACE, dry_run=True)
        assert objects() == ["packs", "xorbs"]
        freed = collect_garbage(GRACE)
    assert (freed.blobs, freed.objects, freed.uploads) == (foreseen.blobs, foreseen.objects, foreseen.uploads)
    assert freed.objects.objects == 2
    assert objects() == []
    assert [model.objects.count() for model in (Blob, XetFile, Xorb)] == [0, 0, 0]


def test_a_deleted_branchs_bytes_go_and_mains_stay(ada):
    ada.push("w.bin", *CHUNKS)
    actor = actor_for_user(ada.owner)
    services.create_branch(repository=ada.repository, name="side", start=None, actor=actor, sees_base=False)
    commit_files(ada.repository, ada.owner, {"side.txt": b"only here"}, branch="side")
    services.delete_branch(repository=ada.repository, name="side", actor=actor)
    empty_trash(ada.owner)
    with later():
        assert collect_garbage(GRACE).blobs == 1
    assert objects() == ["xorbs"]
    assert content(ada.resolve("w.bin")) == WHOLE


def test_what_another_namespace_holds_stays(ada, client):
    grace = Uploader(client)
    ada.push("w.bin", *CHUNKS)
    grace.push("w.bin", *CHUNKS)
    delete(ada)
    with later():
        collect_garbage(GRACE)
    assert content(grace.resolve("w.bin")) == WHOLE


def test_a_xorb_stays_as_long_as_one_file_needs_a_chunk_of_it(ada):
    ada.push("w.bin", *CHUNKS)
    record = file_of([(xorb_of(*CHUNKS)[1], 1, 2)])
    ada.send("POST", "/v1/shards", shard_of(record))
    ada.commit("part.bin", record.sha256, record.size)
    commit_files(ada.repository, ada.owner, {"w.bin": None})
    with later():
        assert collect_garbage(GRACE).blobs == 0  # v1 still holds it
    assert content(ada.resolve("part.bin")) == CHUNKS[1]


def test_what_was_offered_to_an_upload_is_spared(ada):
    record = ada.push("w.bin", *CHUNKS)
    delete(ada)
    with later():
        other = Uploader(ada.client, team=ada.repository.team, owner=ada.owner, name="other")
        assert other.send("GET", f"/v1/chunks/default/{first_chunk()}").status_code == 200
        collect_garbage(GRACE)
        assert objects() == ["xorbs"]
        assert other.send("POST", "/v1/shards", shard_of(record)).status_code == 200
        assert other.commit("w.bin", record.sha256, record.size).status_code == 200
        assert content(other.resolve("w.bin")) == WHOLE


def test_an_upload_that_was_never_finished_goes(ada):
    ada.xorb(*CHUNKS)
    object_store().put(staging_key(ada.repository, "0" * 64), [b"half"])
    with later():
        freed = collect_garbage(GRACE)
    assert (freed.objects.objects, freed.uploads.objects, objects()) == (1, 1, [])


def test_what_killed_processes_have_left_goes(ada):
    """Objects that were stored and never noted, and half of one."""
    store = object_store()
    for key in ("xorbs/00/" + "0" * 64, "blobs/11/" + "1" * 64, "packs/22/" + "2" * 64):
        store.put(key, [b"left"])
    store.start_parts("staging/left")
    ada.push("w.bin", *CHUNKS)
    commit_files(ada.repository, ada.owner, {"README.md": b"words"})
    assert collect_garbage(GRACE, unknown=True).objects.objects == 0  # they may be noted in a moment
    with later():
        foreseen = collect_garbage(GRACE, dry_run=True, unknown=True)
        unasked = collect_garbage(GRACE)
        freed = collect_garbage(GRACE, unknown=True)
    assert (unasked.objects.objects, unasked.uploads.objects) == (0, 1)
    assert (freed.objects.objects, freed.objects.bytes) == (3, 12)
    assert (foreseen.objects, foreseen.uploads) == (freed.objects, unasked.uploads)
    assert objects() == ["packs", "xorbs"]
    assert content(ada.resolve("w.bin")) == WHOLE


def test_what_was_stored_and_never_noted_can_be_sent_again(ada):
    name, body = xorb_of(*CHUNKS)
    object_store().put(f"xorbs/{name[:2]}/{name}", [body])
    with later():
        garbage.doom_unknown(object_store().list_objects(garbage.XORBS), garbage.known_xorbs)
        ada.push("w.bin", *CHUNKS)
        collect_garbage(GRACE)
        assert content(ada.resolve("w.bin")) == WHOLE


def test_a_file_that_was_collected_can_be_sent_again(ada):
    ada.push("w.bin", *CHUNKS)
    commit_files(ada.repository, ada.owner, {"a.txt": b"packed"})
    delete(ada)
    with later():
        collect_garbage(GRACE)
        again = Uploader(ada.client, team=ada.repository.team, owner=ada.owner, name="again")
        again.push("w.bin", *CHUNKS)
        commit_files(again.repository, again.owner, {"a.txt": b"packed"})
        assert content(again.resolve("w.bin")) == WHOLE
        assert content(again.resolve("a.txt")) == b"packed"


def test_an_object_that_is_stored_again_before_the_sweep_is_spared(ada):
    name, body, _ = ada.xorb(*CHUNKS)
    with later():
        garbage.collect_xorbs(timezone.now() - GRACE)
        assert DoomedObject.objects.count() == 1
        assert ada.send("POST", f"/v1/xorbs/default/{name}", body).json() == {"was_inserted": True}
        freed = Freed()
        garbage.sweep(freed)
    assert (freed.objects, objects()) == (0, ["xorbs"])


def test_a_row_is_never_made_for_an_object_that_has_just_gone():
    with pytest.raises(UnavailableError, match="send it again"), transaction.atomic():
        garbage.spare("xorbs/00/nothing")


def test_reports_of_transfers_are_forgotten_after_a_month(ada):
    body = b'{"event": "xet_upload_summary", "metrics": {"bytes": 5}}'
    assert ada.send("POST", "/v1/telemetry", body).status_code == 200
    for hours, left in ((29 * 24, 1), (31 * 24, 0)):
        with later(hours):
            collect_garbage(GRACE)
        assert TransferReport.objects.count() == left


def test_the_command_says_what_it_would_free_and_frees_it(ada, capsys):
    ada.push("w.bin", *CHUNKS)
    delete(ada)
    with later(settings.ENVIRONMENT.garbage_grace_hours + 1):
        call_command("collect_garbage", "--dry-run")
        call_command("collect_garbage")
        call_command("collect_garbage")
    foreseen, freed, nothing = capsys.readouterr().out.splitlines()
    assert foreseen.removeprefix("would free") == freed.removeprefix("freed")
    assert "1 files that no version holds; 1 objects" in freed
    assert "0 files that no version holds; 0 objects" in nothing
