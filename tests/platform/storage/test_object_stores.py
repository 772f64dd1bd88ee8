"""What any object store promises: one suite, run against the folder and a real S3 server."""

from __future__ import annotations

import hashlib
import threading
import time
import urllib.error
import urllib.request

import pytest
from django.test import Client

from steelyard_contracts.errors import InvalidInputError
from steelyard_platform.storage.folder import FolderObjectStore
from steelyard_platform.storage.objects import ObjectExistsError, ObjectMissingError, Part
from steelyard_platform.storage.services import object_store

MIB = 1024 * 1024


class Http:
    """PUT and GET of addresses that the store signed, without any other credential."""

    def __init__(self, store):
        self.is_folder = isinstance(store, FolderObjectStore)

    def put(self, url, data):
        if self.is_folder:
            answer = Client().put(url, data, content_type="application/octet-stream")
            return answer.status_code, answer.headers.get("ETag", "")
        request = urllib.request.Request(
            url, data=data, method="PUT", headers={"Content-Type": "application/octet-stream"}
        )
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, answer.headers.get("ETag", "")
        except urllib.error.HTTPError as error:
            return error.code, ""


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.service("s3"))])
def store(request):
    if request.param == "folder":
        yield object_store()
    else:
        # One bucket for all: each test has keys of its own, and the server sets space aside for every bucket.
        yield request.getfixturevalue("s3_server").store("suite")


def content(store, key, start=0, end=None):
    return b"".join(store.read(key, start, end))


def test_what_was_put_is_read_back_whole_and_in_ranges(store):
    info = store.put("blobs/ab/one", [b"hello ", b"world"])
    assert info.size == 11
    assert store.stat("blobs/ab/one") == info
    assert content(store, "blobs/ab/one") == b"hello world"
    assert content(store, "blobs/ab/one", 6, 9) == b"wor"
    assert content(store, "blobs/ab/one", 6) == b"world"
    assert content(store, "blobs/ab/one", 3, 3) == b""


def test_an_empty_object_is_an_object(store):
    store.put("empty", [])
    assert store.stat("empty").size == 0
    assert content(store, "empty") == b""


def test_large_objects_are_streamed_in_and_out(store):
    block = bytes(range(256)) * 4096
    info = store.put("large", (block for _ in range(37)))
    assert info.size == 37 * MIB
    digest = hashlib.sha256()
    for chunk in store.read("large"):
        assert len(chunk) <= 4 * MIB
        digest.update(chunk)
    assert digest.hexdigest() == hashlib.sha256(block * 37).hexdigest()


def test_what_is_missing_is_said_to_be(store):
    for act in (lambda: store.stat("nothing"), lambda: content(store, "nothing")):
        with pytest.raises(ObjectMissingError, match="There is no object nothing"):
            act()
    store.delete("nothing")


def test_an_upload_that_breaks_off_leaves_nothing(store):
    def broken():
        yield b"x" * (20 * MIB)
        raise ConnectionError("the client went away")

    with pytest.raises(ConnectionError):
        store.put("broken", broken())
    with pytest.raises(ObjectMissingError):
        store.stat("broken")


def test_if_absent_lets_one_writer_win(store):
    store.put("once", [b"first"], if_absent=True)
    with pytest.raises(ObjectExistsError):
        store.put("once", [b"second"], if_absent=True)
    assert content(store, "once") == b"first"


def test_of_many_writers_at_once_exactly_one_wins(store):
    won = []

    def write(name):
        try:
            store.put("race", [name], if_absent=True)
        except ObjectExistsError:
            return
        won.append(name)

    threads = [threading.Thread(target=write, args=(str(n).encode(),)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert content(store, "race") == won[0]


def test_delete_and_list(store):
    for key in ("list/b", "list/a", "other"):
        store.put(key, [key.encode()])
    assert [info.key for info in store.list_objects("list/")] == ["list/a", "list/b"]
    store.delete("list/a")
    assert [info.key for info in store.list_objects("list/")] == ["list/b"]


def test_a_copy_is_of_what_was_looked_at_and_outlives_its_source(store):
    store.put("copied/from", [b"checked"])
    seen = store.stat("copied/from")
    store.put("copied/from", [b"another"])
    with pytest.raises(ObjectExistsError):
        store.copy("copied/from", "copied/to", if_etag=seen.etag)
    store.copy("copied/from", "copied/to", if_etag=store.stat("copied/from").etag)
    store.put("copied/from", [b"a late writer's"])
    store.delete("copied/from")
    assert content(store, "copied/to") == b"another"
    with pytest.raises(ObjectMissingError):
        store.copy("copied/from", "copied/to", if_etag=seen.etag)


def test_a_move_takes_only_what_was_looked_at(store):
    seen = store.put("from", [b"checked"])
    store.put("from", [b"swapped!"])
    with pytest.raises(ObjectExistsError):
        store.move("from", "to", if_etag=seen.etag)
    with pytest.raises(ObjectMissingError):
        store.stat("to")
    now = store.put("from", [b"checked"])
    store.move("from", "to", if_etag=now.etag)
    assert content(store, "to") == b"checked"
    with pytest.raises(ObjectMissingError):
        store.stat("from")


def test_a_signed_put_needs_no_other_credential(store):
    status, _ = Http(store).put(store.signed_put("signed", 60), b"bytes")
    assert status == 200
    assert content(store, "signed") == b"bytes"


def test_a_tampered_or_expired_address_is_refused(store):
    url = store.signed_put("signed-2", 60)
    status, _ = Http(store).put(url.replace("signed-2", "signed-3"), b"bytes")
    assert status == 403


def test_an_expired_address_is_refused(store):
    http = Http(store)
    url = store.signed_put("expired", 1)
    time.sleep(2.1)
    assert http.put(url, b"bytes")[0] == 403
    with pytest.raises(ObjectMissingError):
        store.stat("expired")


def test_an_upload_in_parts_is_put_together_in_order(store):
    upload = store.start_parts("parts")
    blocks = [b"a" * (5 * MIB), b"b" * (5 * MIB), b"c" * 100]
    parts = []
    for number in (2, 3, 1):  # in any order
        status, etag = Http(store).put(store.signed_part("parts", upload, number, 60), blocks[number - 1])
        assert status == 200
        parts.append(Part(number, etag))
    info = store.finish_parts("parts", upload, parts)
    assert info.size == sum(map(len, blocks))
    assert content(store, "parts") == b"".join(blocks)


def test_a_missing_part_is_refused_and_nothing_appears(store):
    upload = store.start_parts("gap")
    _, etag = Http(store).put(store.signed_part("gap", upload, 1, 60), b"a" * (5 * MIB))
    with pytest.raises(InvalidInputError, match="missing or not the one that was sent"):
        store.finish_parts("gap", upload, [Part(1, etag), Part(2, '"0123456789abcdef0123456789abcdef"')])
    with pytest.raises(ObjectMissingError):
        store.stat("gap")
    store.abort_parts("gap", upload)


def test_an_upload_in_parts_that_nobody_finished_is_found_and_can_be_dropped(store):
    upload = store.start_parts("left")
    Http(store).put(store.signed_part("left", upload, 1, 60), b"a" * (5 * MIB))
    [left] = [fragment for fragment in store.fragments() if fragment.upload == upload]
    assert left.size == 5 * MIB
    store.drop_fragment(left)
    store.drop_fragment(left)
    assert not [fragment for fragment in store.fragments() if fragment.upload == upload]


def test_what_a_killed_process_was_writing_is_found_and_can_be_dropped():
    store = object_store()
    assert isinstance(store, FolderObjectStore)
    (store.root / ".temporary" / "0123abcd").write_bytes(b"half")
    [left] = store.fragments()
    assert (left.size, list(store.list_objects(""))) == (4, [])
    store.drop_fragment(left)
    assert not list(store.fragments())


@pytest.mark.parametrize("key", ["../up", "a/../b", "/etc/passwd", ".hidden", "a//b", "a b"])
def test_a_key_cannot_leave_the_store(key):
    with pytest.raises(InvalidInputError):
        object_store().put(key, [b"x"])
